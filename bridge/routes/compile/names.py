"""Checks of what a route reads of the request: names of members, the conversation, the prompt.

A template may read known names only: it renders an unknown name as nothing. A path may read a member that
some clients send, so an unknown member is a warning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.config.problems import closest_match
from bridge.openai.endpoints import ENDPOINTS
from bridge.routes.rules.body_rules import EditedBody, TemplateBody
from bridge.routes.rules.request_members import CONVERSATION, DOCUMENT_MEMBERS, VENDOR_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.config.problems import NameRead, Problems
    from bridge.config.yaml_tree import Node
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.request_template import RequestTemplate
    from bridge.routes.rules.response_rules import ResponseSlots
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import RouteSpec

__all__ = ["check_names", "check_reads"]

_OF_CREDENTIALS = re.compile(r"(routes\[\d+\]\.)?auth\.")  # `compile/dynamic_auth` checks their names
_CHOICE_SLOTS = ("text", "reasoning", "finish_reason", "role", "logprobs")
_RAW = "`raw.NAME` for a member that only some clients send"


def check_names(node: Node, names: Iterable[NameRead], problems: Problems) -> None:
    """Add a problem for each unknown name in a template, and a warning for each in a path."""
    known = DOCUMENT_MEMBERS | VENDOR_MEMBERS | _own_members(node)
    for read in names:
        if read.name in known or _OF_CREDENTIALS.match(read.path):
            continue
        match = closest_match(read.name, known)
        if read.in_template:
            expected = "" if match else f"a member of the request document; {_RAW}"
            problems.add(
                read.location,
                read.path,
                f"`{read.name}` is not a name that a template can read",
                expected=expected,
                known=[match] if match else (),
                word=read.name,
            )
        else:
            expected = "" if match else "a member of the request document, or a sample that has the member"
            message = f"`{read.name}` is not a member that clients send"
            problems.warn(read.location, read.path, message, expected=expected, match=match)


def _own_members(node: Node) -> set[str]:
    """Return the members that the route itself adds, and those that its samples' clients send."""
    members = {"session"} if node.get("session") else set()
    for call in _members(node.get("calls")):
        members |= _keys(call.get("values"))
    samples = node.get("samples")
    for sample in samples.value if samples and isinstance(samples.value, list) else ():
        members |= _keys(sample.get("request"))
    return members


def _members(node: Node | None) -> list[Node]:
    return list(node.value.values()) if node and isinstance(node.value, dict) else []


def _keys(node: Node | None) -> set[str]:
    return set(map(str, node.value)) if node and isinstance(node.value, dict) else set()


def check_reads(spec: RouteSpec, route: Route, node: Node, problems: Problems) -> None:
    """Add problems for a request without the conversation, and for a prompt that nothing reads."""
    # The bridge makes a chat of a legacy completion, so that a rule for both reads a chat.
    endpoint = ENDPOINTS["chat" if "chat" in spec.serves else spec.serves[0]]
    for template, at in _templates(route, node):
        if not _carries_input(template, route, endpoint):
            problems.add(
                at.key_location or at.location,
                at.path,
                "the request reads nothing of the conversation",
                expected=f"one of {', '.join(f'$.{name}' for name in _inputs(endpoint))}",
            )
    _check_prompt(route, node, problems)
    _check_items("response", route.response.non_streaming, node, problems)
    stream = route.response.streaming
    _check_items("stream", stream.slots if stream else None, node, problems)


def _check_items(key: str, slots: ResponseSlots | None, node: Node, problems: Problems) -> None:
    """Add a problem if a slot reads `$item` of a response that is read as a single choice."""
    at = node.get(key)
    if at is not None and slots is not None and slots.choices is None and _reads_item(at):
        problems.add(
            at.key_location or at.location,
            at.path,
            "`$item` is read without a list",
            expected="`choices`, the path of the list of choices, or a path from `$`",
        )


def _reads_item(at: Node) -> bool:
    """Return whether a slot of a choice is declared with `$item`."""
    slots = [at] if isinstance(at.value, str) else [at.get(name) for name in _CHOICE_SLOTS]
    return any(
        isinstance(node.value, str) and node.value.startswith("$item")
        for slot in slots
        if slot is not None
        for node in slot.walk()
    )


def _templates(route: Route, node: Node) -> Iterator[tuple[RequestTemplate, Node]]:
    """Yield the templates of requests that carry a conversation, each with the node of its body."""
    streaming = node.get("stream", "request") or node.get("request")
    if not route.callouts.sends_request:
        return
    if route.response.non_streaming is not None:
        yield route.request.non_streaming, node.get("request") or node
    if route.response.streaming is not None:
        yield route.request.streaming, streaming or node


def _inputs(endpoint: EndpointSpec) -> tuple[str, ...]:
    """Return the members of which a request must read one."""
    return CONVERSATION if endpoint.streams else (endpoint.input_member, "inputs", "prompt", "raw")


def _carries_input(template: RequestTemplate, route: Route, endpoint: EndpointSpec) -> bool:
    """Return whether a request to an endpoint contains what the model is given."""
    reads, session = template.reads | route.callouts.reads, route.callouts.session
    if None in reads or reads & {*_inputs(endpoint)} or (session and session.is_kept and "session" in reads):
        return True
    match template.body:
        case TemplateBody():
            return False
        case EditedBody() as body:
            return body.forwards(endpoint.input_member)
        case _:
            return True


def _check_prompt(route: Route, node: Node, problems: Problems) -> None:
    prompt = node.get("prompt")
    if prompt is None or prompt.location.source != node.location.source:
        return  # a route that changes the body of a preset may leave the preset's prompt unread
    requests = (route.request.non_streaming, route.request.streaming)
    reads = route.callouts.reads.union(*(template.reads for template in requests))
    if None not in reads and "prompt" not in reads:
        problems.add(
            prompt.key_location or prompt.location,
            prompt.path,
            "no rule reads the prompt",
            expected="`request.body` or `request.fields` with $.prompt",
        )
