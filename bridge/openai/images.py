"""Generated images: the shapes that upstreams send, responses in OpenAI's shape, and the endpoint.

    {"url": …}   {"b64_json": …}   "https://…"   "data:image/png;base64,…"   "iVBORw0KGgo…"   ─▶   Image

A client that requests URLs of an upstream that sends base64 receives `data:` URLs.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.deltas import Image
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.normalize import dicts_in, keep_items, omit, upstream_identity, with_members
from bridge.openai.request_validation import COMMON_MEMBERS, STRING, missing_member, no_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["IMAGES", "ImagesEncoder", "normalize_images", "read_image"]


def read_image(url: Any, b64_json: Any, revised_prompt: Any = None) -> Image | None:
    """Return the image in the values of its slots; None if neither is a text.

    A value is a URL or base64 by its first characters, whichever slot found it. Raises UpstreamError about
    invalid base64.
    """
    texts = [text.strip() for text in (url, b64_json) if isinstance(text, str)]
    address = next((text for text in texts if _URL.match(text)), None)
    data = next((text for text in texts if text and not _URL.match(text)), None)
    data_url = _DATA_URL.match(address or "")
    if data_url is not None and data is None:
        address, data = None, str(address)[data_url.end() :]
    if data is not None:
        data = _base64(data)
    if address is None and data is None:
        return None
    return Image(address, data, revised_prompt if isinstance(revised_prompt, str) else None)


class ImagesEncoder:
    """Encodes images as one response."""

    __slots__ = ("_images", "_info")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._images: dict[int, Image] = {}

    def write(self, images: Sequence[Any]) -> bytes:
        """Keep the images."""
        self._images.update((image.choice, image) for image in images)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the response. Raises UpstreamError if an image cannot have the requested format."""
        images = [self._images[number] for number in sorted(self._images)]
        return json.dumps(normalize_images({}, images, self._info, usage))

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""


def normalize_images(
    body: JSONObject, images: list[Image], info: ResponseInfo, usage: Usage | None
) -> JSONObject:
    """Return a body with these images in the requested format: the same object if nothing differs.

    Raises UpstreamError if the client requests base64 and an image is a URL.
    """
    items = dicts_in(body.get("data", []))
    if len(items) != len(images):
        items = [{}] * len(images)
    response_format = info.request_body.get("response_format")
    data = [
        _with_image(item, _in_format(image, response_format))
        for item, image in zip(items, images, strict=True)
    ]
    members: JSONObject = {
        "created": upstream_identity(info, body).created,
        "data": keep_items(data, body.get("data")),
    }
    if usage is not None and not isinstance(body.get("usage"), dict):
        members["usage"] = {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }
    return with_members(omit(body, "error"), members)


def _with_image(item: JSONObject, members: JSONObject) -> JSONObject:
    """Return an item of `data` with these members of an image and no others."""
    return with_members(omit(item, *(name for name in _FORMATS if name not in members)), members)


def _in_format(image: Image, response_format: Any) -> JSONObject:
    """Return an image in the requested format; as the upstream sent it without a requested format."""
    url, data = image.url, image.b64_json
    match response_format:
        case "b64_json" if data is None:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                "the upstream sent the URL of an image: expected base64 by `response_format: b64_json`; "
                "request `url` instead",
            )
        case "b64_json":
            url = None
        case "url":
            url, data = url or f"data:{_media_type(str(data))};base64,{data}", None
    members = {"url": url, "b64_json": data, "revised_prompt": image.revised_prompt}
    return {name: value for name, value in members.items() if value is not None}


def _base64(text: str) -> str:
    """Return base64 as clients decode it: on one line, of the standard alphabet, padded."""
    data = text.translate(_STANDARD)
    if not _BASE64.fullmatch(data) or len(data.rstrip("=")) % 4 == 1:
        raise UpstreamError(
            UpstreamFailure.MALFORMED, "the upstream sent an image that is neither a URL nor base64"
        )
    return data + "=" * (-len(data) % 4)


def _media_type(data: str) -> str:
    """Return the media type of an image by its first bytes."""
    start = b64decode(data[:32])
    return next((name for magic, name in _MAGIC if magic.match(start)), "application/octet-stream")


_URL = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STANDARD = str.maketrans("-_", "+/", "\n\v\f\r")
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
