"""A client's messages, read once for every format: who speaks, what is said, called and answered.

    {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "pick", …}}]}
    {"role": "tool", "tool_call_id": "c1", "content": "red"}
      ─▶  Turn("assistant", (), (Call("c1", "pick", …),))
          Turn("tool", ("red",), answers="c1", name="pick")

Results stand in the order of their calls, since some servers tell equal calls apart by nothing else. A call
and an image know where they stood, so that what a format cannot take is refused by its place.
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

__all__ = ["Image", "Message", "ToolCall", "invalid_parameter", "read_turns"]
Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(NamedTuple):
    """A call of a tool that the model made. `arguments` are JSON as text, `more` what else is said of it."""

    id: str
    name: str
    arguments: str
    at: str
    more: JSONObject

    def read_arguments(self) -> JSONObject:
        """The arguments as an object; none are an empty one. Raises RequestError where they are none."""
        try:
            found = json.loads(self.arguments) if self.arguments.strip() else {}
        except ValueError as error:
            raise invalid_parameter(
                f"{self.at}.function.arguments", f"must be a JSON object as text: {error}"
            ) from None
        if not isinstance(found, dict | None):
            raise invalid_parameter(
                f"{self.at}.function.arguments", "must be a JSON object as text, not another value"
            )
        return found or {}


class Image(NamedTuple):
    """A picture, as the URL of its data or of where it is."""

    url: str
    at: str

    def read_data(self) -> tuple[str, str]:
        """Its media type and its bytes as base64. Raises RequestError where it lies elsewhere."""
        found = _DATA_URL.fullmatch(self.url)
        if found is None:
            raise invalid_parameter(
                f"{self.at}.image_url.url",
                "must be a data URL in base64, such as data:image/png;base64,…: "
                "this model's server fetches no images",
                code="unsupported_content",
            )
        return found["type"].lower(), found["data"]

    @property
    def is_remote(self) -> bool:
        """Whether it is to be fetched."""
        return self.url.startswith(("http://", "https://"))


class Message(NamedTuple):
    """One message. A `tool` turn `answers` the call of this id, which was one of the tool `name`."""

    role: Role
    parts: tuple[str | Image, ...]
    calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    at: str = ""

    @property
    def text(self) -> str:
        """What is said in words, a line each part."""
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        """What is shown."""
        return [part for part in self.parts if isinstance(part, Image)]

    @property
    def pieces(self) -> list[str | Image]:
        """Text and images in their order; text alone is one piece, and that which is empty none."""
        pieces = self.parts if self.images else (self.text,)
        return [piece for piece in pieces if piece]


def read_turns(messages: list[JSONObject]) -> list[Message]:
    """The messages of a request. Raises RequestError (400) that names the member at fault."""
    known: dict[str, tuple[int, str]] = {}  # which call in order, and of what, by its id
    turns = [_turn(f"messages[{number}]", message, known) for number, message in enumerate(messages)]
    ordered: list[Message] = []
    for role, group in groupby(turns, key=lambda turn: turn.role):
        said = list(group)
        if role == "tool":
            said.sort(key=lambda turn: known.get(turn.tool_call_id, (len(known), ""))[0])
        ordered += said
    return ordered


def invalid_parameter(param: str, why: str, *, code: str = "invalid_value") -> RequestError:
    """The client's fault at one member of its request."""
    return RequestError(400, f"`{param}` {why}", param=param, code=code)


def _turn(at: str, message: JSONObject, known: dict[str, tuple[int, str]]) -> Message:
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
            answered = message.get("tool_call_id")
            if not isinstance(answered, str) or not answered:
                raise invalid_parameter(
                    f"{at}.tool_call_id", "must be the id of the call that this is the result of"
                )
            _, name = known.get(answered, (0, message.get("name")))
            return Message(
                "tool", parts, tool_call_id=answered, name=name if isinstance(name, str) else "", at=at
            )
        case _:
            # Whatever is neither the model's nor the operator's is told as the user's, as in prompts.
            return Message("user", parts, at=at)


def _calls(at: str, found: Any) -> Iterator[ToolCall]:
    if not isinstance(found, list | None):
        raise invalid_parameter(at, "must be an array")
    for number, call in enumerate(found or []):
        here = f"{at}[{number}]"
        match call:
            case {"id": str(known), "function": {"name": str(name)} as function} if known and name:
                arguments = arguments_text(function.get("arguments"))
                more = {key: value for key, value in call.items() if key not in ("id", "type", "function")}
                yield ToolCall(known, name, arguments, here, more)
            case _:
                raise invalid_parameter(
                    here, "must be a call of a function, with an `id` and a `function.name`"
                )


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
                    here, "is no content part that this model takes: text or `image_url`",
                    code="unsupported_content",
                )  # fmt: skip


_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[^;,]+)*;base64,(?P<data>[A-Za-z0-9+/_=\s-]+)", re.IGNORECASE
)
