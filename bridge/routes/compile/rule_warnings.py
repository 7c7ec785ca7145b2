"""Warnings about the rules of a route: names that nothing has, and texts that look like something else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.config.problems import closest_match
from bridge.core.finish_reasons import read_finish_reason
from bridge.expressions.paths import is_path
from bridge.expressions.transforms import TRANSFORMS
from bridge.routes.rules.request_members import DOCUMENT_MEMBERS, VENDOR_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.route import Route

__all__ = ["warn_of_rules"]

_ROLES = {"assistant", "developer", "function", "system", "tool", "user"}
_MESSAGE_KEYS = {"content", "role"}
_TEXTS = {"last", "model", "prompt", "system"}
_INDEX_AS_NAME = re.compile(r"\.(\d+)(?=[.\[]|$)")
_ONE_BRACE = re.compile(r"\{(\w+)\}")
_BARE_NAME = re.compile(r"\$(\w+)")
_OPERATOR = re.compile(r"\s*(==|!=|>=?|<=?)\s*\S")


def warn_of_rules(route: Route, node: Node, problems: Problems) -> None:
    """Warn of rules that find nothing, or do something else than they seem to."""
    warnings = _Warnings(problems)
    for at in (node.get("request"), node.get("stream", "request")):
        if at is not None:
            warnings.of_edits(at)
    for steps in (("request", "body"), ("request", "fields"), ("stream", "request", "body")):
        at = node.get(*steps)
        if at is not None:
            warnings.of_body(at)
    warnings.of_responses(node)
    warnings.of_unread_values(route, node)
    for each in node.walk():
        if is_path(each.value) and (match := _INDEX_AS_NAME.search(str(each.value))):
            warnings.add(
                each, f"`.{match[1]}` is a name, not an index", f"[{match[1]}] for an element of a list"
            )


class _Warnings:
    """The warnings of one route."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def add(self, node: Node, message: str, expected: str = "", match: str | None = None) -> None:
        """Add a warning at the key of a node, or at the node itself."""
        location = node.key_location or node.location
        self._problems.warn(location, node.path, message, expected=expected, match=match)

    def of_edits(self, request: Node) -> None:
        """Warn of edits of members, roles and keys that no client sends."""
        members = DOCUMENT_MEMBERS | VENDOR_MEMBERS
        for name in ("keep", "drop"):
            listed = request.get(name)
            for each in listed.value if listed and isinstance(listed.value, list) else ():
                self._of_unknown(each, str(each.value), members, "a member that clients send")
        self._of_mapping(request.get("rename"), members, "a member that clients send")
        for key in ("message_keys", "messageKeys"):
            self._of_mapping(request.get(key), _MESSAGE_KEYS, "a key of messages that is renamed")
        self._of_mapping(request.get("roles"), _ROLES, "a role of messages")

    def _of_mapping(self, mapping: Node | None, known: Iterable[str], what: str) -> None:
        """Warn of the unknown keys of a mapping, which may be written the wrong way round."""
        for key, each in mapping.value.items() if mapping and isinstance(mapping.value, dict) else ():
            if str(key) in known:
                continue
            value, match = str(each.value), closest_match(str(key), known)
            if value in known and match in (None, value):
                self.add(each, f"`{key}` is not {what}", f"the other way round: {{{value}: {key}}}")
            elif match is not None:
                self.add(each, f"`{key}` is not {what}", match=match)

    def _of_unknown(self, node: Node, name: str, known: Iterable[str], what: str) -> None:
        if name not in known and (match := closest_match(name, known)):
            self.add(node, f"`{name}` is not {what}", match=match)

    def of_body(self, body: Node) -> None:
        """Warn of literal texts that look like paths, templates or instructions."""
        members = DOCUMENT_MEMBERS | VENDOR_MEMBERS
        for each in body.walk():
            text = each.value
            if isinstance(text, str):
                if (match := _BARE_NAME.fullmatch(text)) and match[1] in members:
                    self.add(each, f"`{text}` is literal text", f"the path $.{match[1]}")
                elif (match := _ONE_BRACE.search(text)) and match[1] in members and "{{" not in text:
                    self.add(each, f"`{match[0]}` is literal text", f"the template {{{{ {match[1]} }}}}")
            elif isinstance(text, dict):
                self._of_mapping_in_body(each)

    def _of_mapping_in_body(self, node: Node) -> None:
        path, others = node.get("path"), node.value.keys() - {"path"}
        if path is not None and is_path(path.value) and others and others <= {"default", "when", *TRANSFORMS}:
            self.add(path, "`path` is a member of the body here", "`$path` for a value with options")
        each = node.get("$each")
        if each is not None and str(each.value).removeprefix("$.") in _TEXTS:
            self.add(each, f"`{each.value}` is one text, not a list", "a list, such as $.messages")
        lowest, highest = node.get("min"), node.get("max")
        if lowest and highest and _is_number(lowest) and _is_number(highest) and lowest.value > highest.value:
            self.add(lowest, "`min` is above `max`: every number becomes `max`", "`min` below `max`")

    def of_responses(self, node: Node) -> None:
        """Warn of slots and conditions of responses."""
        for key, word, other in (("response", "delta", "stream"), ("stream", "message", "response")):
            at = node.get(key)
            text = at if at is None or isinstance(at.value, str) else at.get("text")
            if text is not None and f"].{word}.content" in str(text.value):
                self.add(text, f"`{word}` is OpenAI's member of a {_KINDS[other]}", f"`{other}`")
            choices = at and at.get("choices")
            if choices and choices.value and at and at.get("text") and not _reads_item(at.get("text")):
                self.add(choices, "no slot reads a choice", "`text` with a path from $item")
            self._of_finish_map(at and at.get("finish_reason", "map"))
        self._of_done(node.get("stream", "done"))
        for condition in _conditions(node):
            self._of_condition(condition)

    def _of_finish_map(self, table: Node | None) -> None:
        for each in table.value.values() if table and isinstance(table.value, dict) else ():
            if isinstance(each.value, str) and read_finish_reason(each.value) != each.value:
                self.add(
                    each,
                    f"`{each.value}` is not a finish reason of OpenAI's",
                    "stop, length, tool_calls or content_filter as the value, the upstream's word as the key",
                )

    def _of_done(self, done: Node | None) -> None:
        text = done.value if done else None
        if done is None or not isinstance(text, str):
            return
        if is_path(text):
            self.add(done, f"`{text}` is a literal frame here", f"a condition, such as {{{text}: true}}")
        elif text != "[DONE]" and text.upper() == "[DONE]":
            self.add(done, f"`{text}` differs from the literal [DONE] that servers send", "[DONE]")

    def _of_condition(self, condition: Node) -> None:
        for each in condition.walk():
            if isinstance(each.value, str) and is_path(_last_key(each)):
                if each.value == "exists":
                    self.add(each, "`exists` is compared as text", "{exists: true}")
                elif _OPERATOR.match(each.value):
                    self.add(each, f"`{each.value}` is compared as text", "one of not, exists, above, below")

    def of_unread_values(self, route: Route, node: Node) -> None:
        """Warn of a session or a value of a call that no rule reads."""
        requests = (route.request.non_streaming, route.request.streaming)
        reads = route.callouts.reads.union(*(template.reads for template in requests))
        if None in reads:
            return
        opened = node.get("session", "open")
        if opened is not None and "session" not in reads:
            self.add(opened, "no rule reads the session's id", "a path or template with `session`")
        calls = node.get("calls")
        for call in calls.value.values() if calls and isinstance(calls.value, dict) else ():
            values = call.get("values")
            for name, each in values.value.items() if values and isinstance(values.value, dict) else ():
                if str(name) not in reads:
                    self.add(each, f"no rule reads the value `{name}`", f"a path or template with `{name}`")


_KINDS = {"stream": "stream", "response": "non-streaming response"}


def _conditions(node: Node) -> Iterator[Node]:
    """Yield the conditions on responses and frames."""
    errors = node.get("error")
    listed = errors.value if errors and isinstance(errors.value, list) else [errors]
    found = [each.get("when") for each in listed if each]
    found += [node.get("stream", name) for name in ("only", "skip", "done")] + [node.get("poll", "until")]
    yield from (each for each in found if each is not None)


def _last_key(node: Node) -> str:
    """Return the key of a member of a condition."""
    bracket = re.search(r"\['([^']*)'\]$", node.path)
    return bracket[1] if bracket else ""


def _reads_item(slot: Node | None) -> bool:
    return slot is not None and any(str(each.value).startswith("$item") for each in slot.walk())


def _is_number(node: Node) -> bool:
    return isinstance(node.value, int | float)
