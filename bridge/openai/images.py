"""Generated images: what servers send for them, and the reply that clients expect.

    {"url": …}   {"b64_json": …}   "https://…"   "data:image/png;base64,…"   "iVBORw0KGgo…"   ─▶   Image

A client that asked for a URL where the server sent bytes gets them in a `data:` URL.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.deltas import Image
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.normalize import dicts_in, json_equal, omit, with_upstream_identity
from bridge.openai.request_validation import COMMON_MEMBERS, STRING, missing_member, no_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.encoders import CompletionInfo

__all__ = ["IMAGES", "ImagesEncoder", "mend_images", "read_image"]


def read_image(url: Any, b64_json: Any, revised_prompt: Any = None) -> Image | None:
    """An image of what was found for it, each told by its look; None where there is neither.

    Raises UpstreamError where bytes are promised that are none.
    """
    texts = [text.strip() for text in (url, b64_json) if isinstance(text, str)]
    where = next((text for text in texts if _URL.match(text)), None)
    data = next((text for text in texts if text and not _URL.match(text)), None)
    inline = _DATA.match(where or "")
    if inline is not None and data is None:
        where, data = None, str(where)[inline.end() :]
    if data is not None:
        data = _base64(data)
    if where is None and data is None:
        return None
    return Image(where, data, revised_prompt if isinstance(revised_prompt, str) else None)


class ImagesEncoder:
    """Folds images into one answer."""

    __slots__ = ("_head", "_images")

    started = False  # nothing leaves before the end, so a failure keeps its status

    def __init__(self, head: CompletionInfo) -> None:
        self._head = head
        self._images: dict[int, Image] = {}

    def write(self, images: Sequence[Any]) -> bytes:
        """Nothing yet: the images are kept."""
        self._images.update((image.choice, image) for image in images)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """The answer. Raises UpstreamError where an image is not to be had in the format asked for."""
        images = [self._images[number] for number in sorted(self._images)]
        return json.dumps(mend_images({}, images, self._head, usage))

    def fail(self, error: BridgeError) -> bytes:
        """Nothing: the error's own envelope is the whole reply."""
        return b""


def mend_images(
    body: JSONObject, images: list[Image], head: CompletionInfo, usage: Usage | None
) -> JSONObject:
    """An answer with these images in the format asked for: the same object, or a mended copy.

    Raises UpstreamError where one is a URL and its bytes were asked for.
    """
    told = dicts_in(body.get("data", []))
    items = told if len(told) == len(images) else [{}] * len(images)
    wanted = head.request_body.get("response_format")
    mended = {
        **omit(body, "error"),
        "created": with_upstream_identity(head, body).created,
        "data": [
            {**omit(item, *_FORMATS), **_shown(image, wanted)}
            for item, image in zip(items, images, strict=True)
        ],
    }
    if usage is not None and not isinstance(body.get("usage"), dict):
        mended["usage"] = {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }
    return body if json_equal(mended, body) else mended


def _shown(image: Image, wanted: Any) -> JSONObject:
    """An image as the client asked for it; as it came, where it did not say."""
    url, data = image.url, image.b64_json
    match wanted:
        case "b64_json" if data is None:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                "the upstream sent the URL of an image where `response_format: b64_json` was asked for: "
                "ask for `url`",
            )
        case "b64_json":
            url = None
        case "url":
            url, data = url or f"data:{_kind(str(data))};base64,{data}", None
    shown = {"url": url, "b64_json": data, "revised_prompt": image.revised_prompt}
    return {name: value for name, value in shown.items() if value is not None}


def _base64(text: str) -> str:
    """The same bytes as clients read them: on one line, of the standard alphabet, padded."""
    data = "".join(text.splitlines()).translate(_STANDARD)
    if not _BASE64.fullmatch(data) or len(data.rstrip("=")) % 4 == 1:
        raise UpstreamError(
            UpstreamFailure.MALFORMED, "the upstream sent an image that is neither a URL nor base64"
        )
    return data + "=" * (-len(data) % 4)


def _kind(data: str) -> str:
    """The media type of an image, by its first bytes."""
    first = b64decode(data[:32])
    return next((kind for magic, kind in _MAGIC if magic.match(first)), "application/octet-stream")


_URL = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STANDARD = str.maketrans("-_", "+/")
_FORMATS = ("url", "b64_json", "revised_prompt")

_MAGIC = (
    (re.compile(rb"\x89PNG"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8"), "image/gif"),
)


def _check_prompt(body: JSONObject) -> None:
    if not body.get("prompt"):
        raise missing_member("prompt")
    if body.get("stream"):
        raise no_stream("images")


def _expand_sample(url: Any) -> JSONObject:
    return {"data": [{"url": str(url)}]}


_MEMBERS = COMMON_MEMBERS | {
    "prompt": STRING,
    "size": STRING,
    "quality": STRING,
    "response_format": MemberCheck("`url` or `b64_json`", (), lambda value: value in ("url", "b64_json")),
}

IMAGES: Final = EndpointSpec(
    name="images",
    path="images/generations",
    operation="image_generation",
    input_member="prompt",
    body=BodySchema.of(_MEMBERS, _check_prompt, default_model="dall-e-2"),  # OpenAI's own default
    unchecked_parameters=frozenset(
        {"background", "moderation", "output_compression", "output_format", "style"}
    ),
    bridge_parameters=frozenset({"response_format"}),
    example={"prompt": "Hello!"},
    estimate_prompt=None,
    output="images",
    slots=("images", "url", "b64_json", "revised_prompt"),
    encoder=ImagesEncoder,
    expand_sample=_expand_sample,
)
