"""The messages of a request, parsed once for all formats.

    {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "pick", …}}]}
    {"role": "tool", "tool_call_id": "c1", "content": "red"}
      ─▶  Message("assistant", (), (ToolCall("c1", "pick", …),))
          Message("tool", ("red",), tool_call_id="c1", name="pick")

Results are sorted by the order of their calls, since some servers match results by order alone. Calls and
images carry their path in the request, so that an error can name the member that a format cannot express.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.core.messages import arguments_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.json import JSONObject

__all__ = ["Image", "Message", "ToolCall", "invalid_parameter", "read_messages", "unsent_members"]
Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(NamedTuple):
    """A tool call in a message of the assistant."""

    id: str
    name: str
    arguments: str  # JSON as text
    at: str  # the path of the call in the request
    more: JSONObject  # further members of the call

    def read_arguments(self) -> JSONObject:
        """Return the arguments as an object; {} without arguments. Raises RequestError (400)."""
        try:
            value = json.loads_text(self.arguments) if self.arguments.strip() else {}
        except ValueError as error:
            raise invalid_parameter(
                f"{self.at}.function.arguments", f"must be a JSON object as text: {error}"
            ) from None
        if not isinstance(value, dict | None):
            raise invalid_parameter(
                f"{self.at}.function.arguments", "must be a JSON object as text, not another value"
            )
        return value or {}


class Image(NamedTuple):
    """An image in a message."""

    url: str  # http: or data:
    at: str  # the path of the content part in the request

    def read_data(self) -> tuple[str, str]:
        """Return the media type and the bytes as base64. Raises RequestError (400) about other URLs."""
        data_url = _DATA_URL.fullmatch(self.url)
        if data_url is None:
            raise invalid_parameter(
                f"{self.at}.image_url.url",
                "must be a data URL in base64, such as data:image/png;base64,…: "
                "this model's server does not fetch images",
                code="unsupported_content",
            )
        media_type = data_url["type"].lower()
        return _REGISTERED.get(media_type, media_type), data_url["data"]

    @property
    def is_remote(self) -> bool:
        """Return whether the image has to be fetched."""
        return self.url.startswith(("http://", "https://"))


class Message(NamedTuple):
    """A message."""

    role: Role
    parts: tuple[str | Image, ...]
    calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""  # of the call that a result belongs to
    name: str = ""  # of the tool that a result is of
    at: str = ""  # the path of the message in the request

    @property
    def text(self) -> str:
        """Return the texts, one line for each part."""
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        """Return the images."""
        return [part for part in self.parts if isinstance(part, Image)]

    @property
    def pieces(self) -> list[str | Image]:
        """Return texts and images in their order, without blank texts; texts without images are joined."""
        pieces = self.parts if self.images else (self.text,)
        return [piece for piece in pieces if not isinstance(piece, str) or piece.strip()]


def read_messages(messages: list[JSONObject]) -> list[Message]:
    """Parse messages. Raises RequestError (400) that names the member at fault."""
    calls: dict[str, tuple[int, str]] = {}  # the position of a call and the name of its tool, by id
    parsed = [_message(f"messages[{number}]", message, calls) for number, message in enumerate(messages)]
    ordered: list[Message] = []
    for role, group in groupby(parsed, key=lambda message: message.role):
        run = list(group)
        if role == "tool":
            run.sort(key=lambda message: calls.get(message.tool_call_id, (len(calls), ""))[0])
        ordered += run
    return ordered


def unsent_members(messages: list[JSONObject]) -> list[str]:
    """Return the names of members of messages that no format can express, such as earlier reasoning."""
    names = dict.fromkeys(name for message in messages for name in message.keys() - _SENT if message[name])
    return sorted(names)


def invalid_parameter(param: str, fault: str, *, code: str = "invalid_value") -> RequestError:
    """Return the error about one member of a request."""
    return RequestError(400, f"`{param}` {fault}", param=param, code=code)


def _message(at: str, message: JSONObject, known: dict[str, tuple[int, str]]) -> Message:
    parts = tuple(_parts(f"{at}.content", message.get("content")))
    match message["role"]:
        case "system" | "developer":
            return Message("system", parts, at=at)
        case "assistant":
            calls = tuple(_calls(f"{at}.tool_calls", message.get("tool_calls")))
            for call in calls:
                known[call.id] = len(known), call.name
            return Message("assistant", parts, calls, at=at)
        case "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or not call_id:
                raise invalid_parameter(f"{at}.tool_call_id", "must be the id of a tool call")
            _, name = known.get(call_id, (0, message.get("name")))
            return Message(
                "tool", parts, tool_call_id=call_id, name=name if isinstance(name, str) else "", at=at
            )
        case _:
            # Messages of any other role are the user's, as in prompts.
            return Message("user", parts, at=at)


def _calls(at: str, calls: Any) -> Iterator[ToolCall]:
    if not isinstance(calls, list | None):
        raise invalid_parameter(at, "must be an array")
    for number, call in enumerate(calls or []):
        here = f"{at}[{number}]"
        match call:
            case {"id": str(call_id), "function": {"name": str(name)} as function} if call_id and name:
                arguments = arguments_text(function.get("arguments"))
                more = {key: value for key, value in call.items() if key not in ("id", "type", "function")}
                yield ToolCall(call_id, name, arguments, here, more)
            case _:
                raise invalid_parameter(here, "must be a tool call with an `id` and a `function.name`")


def _parts(at: str, content: Any) -> Iterator[str | Image]:
    if content is None or isinstance(content, str):
        yield content or ""
        return
    for number, part in enumerate(content):
        here = f"{at}[{number}]"
        match {"type": "text", **part}:
            case {"type": "text" | "input_text", "text": str(text)}:
                yield text
            case {"type": "refusal", "refusal": str(text)}:
                yield text
            case {"type": "image_url", "image_url": str(url) | {"url": str(url)}}:
                yield Image(url, here)
            case _:
                raise invalid_parameter(
                    here, "must be a content part that this model accepts: text or `image_url`",
                    code="unsupported_content",
                )  # fmt: skip


_SENT = frozenset({"role", "content", "tool_calls", "tool_call_id", "name", "refusal", "tool_name"})

# Names in use for registered media types, which servers reject.
_REGISTERED = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}

# Every quantifier is possessive: a match of a long URL remembers no places to return to.
_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+-]++/[\w.+-]++)(?:;(?!base64,)[^;,]++)*+;base64,(?P<data>[A-Za-z0-9+/_=\s-]++)",
    re.IGNORECASE,
)
