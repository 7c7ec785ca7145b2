"""Every endpoint of the registry is complete, on OpenAI's side and on the exchange's."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from bridge.exchange.endpoints import EXCHANGE_PARTS
from bridge.openai.endpoints import ENDPOINTS, PARAMETERS, STRUCTURAL_MEMBERS
from bridge.openai.request_validation import parse_request
from bridge.routes.rules.response_rules import ResponseSlots


def test_every_endpoint_has_its_parts_of_the_exchange() -> None:
    assert EXCHANGE_PARTS.keys() == {endpoint.plan_name for endpoint in ENDPOINTS.values()}


def test_paths_differ() -> None:
    assert len({endpoint.path for endpoint in ENDPOINTS.values()}) == len(ENDPOINTS)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_example_is_a_valid_request(name: str) -> None:
    endpoint = ENDPOINTS[name]
    body = {"model": "m", **endpoint.example}
    assert endpoint.input_member in body
    assert parse_request(endpoint, json.dumps(body).encode()) == body


@pytest.mark.parametrize("name", ENDPOINTS)
def test_slots_can_be_given_in_a_route(name: str) -> None:
    endpoint = ENDPOINTS[name]
    assert {endpoint.output, *endpoint.slots} <= {field.name for field in fields(ResponseSlots)}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_parameters_are_not_structural(name: str) -> None:
    endpoint = ENDPOINTS[name]
    assert endpoint.bridge_parameters | endpoint.unchecked_parameters <= PARAMETERS
    assert endpoint.input_member in STRUCTURAL_MEMBERS
