"""The parts of aiohttp that are no public interface: what the bridge relies on, checked on every upgrade."""

from __future__ import annotations

import inspect

import aiohttp
from aiohttp.client_reqrep import ClientRequest

ADVICE = (
    f"aiohttp {aiohttp.__version__} has another {{}}: adapt connector_key() in bridge/upstream/origin.py, "
    "then the versions of aiohttp in pyproject.toml and this test"
)


def test_a_client_request_needs_no_more_than_method_and_url() -> None:
    parameters = inspect.signature(ClientRequest.__init__).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
    assert required == ["self", "method", "url"], ADVICE.format("constructor of ClientRequest")


def test_a_client_request_takes_what_a_connection_depends_on() -> None:
    parameters = set(inspect.signature(ClientRequest.__init__).parameters)
    assert parameters >= {"loop", "ssl", "proxy", "server_hostname"}, ADVICE.format("ClientRequest")


def test_the_connector_takes_a_request_traces_and_a_timeout() -> None:
    parameters = list(inspect.signature(aiohttp.TCPConnector.connect).parameters)
    assert parameters == ["self", "req", "traces", "timeout"], ADVICE.format("TCPConnector.connect")
