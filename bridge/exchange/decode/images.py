"""Readers of generated images: one response with one image or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, Image
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.exchange.decode.values import as_list
from bridge.expressions.paths import find_text_paths
from bridge.openai.images import normalize_images, read_image
from bridge.routes.rules.response_rules import IMAGE_BODY

if TYPE_CHECKING:
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["ImagesPassthrough", "ImagesReader"]

# OpenAI's names of the counts in a response with images.
_IMAGE_COUNTS = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}


class ImagesReader(ResponseReader):
    """The reader of a response with images."""

    __slots__ = ()

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the images. Raises UpstreamError if an image is invalid."""
        self.counts.read(self._rule.usage, scope)
        usage = scope.doc.get("usage") if isinstance(scope.doc, dict) else None
        if isinstance(usage, dict):
            for name, image_count in _IMAGE_COUNTS.items():
                if name not in self.counts:
                    self.counts.record(name, usage.get(image_count, MISSING))
        items = map(scope.with_item, self._items(scope))
        images = [image for item in items if (image := self._image(item)) is not None]
        if images:
            self.has_output = True
        else:
            self._samples.append(scope.doc)
        return [image._replace(choice=index) for index, image in enumerate(images)]

    def close(self) -> list[Any]:
        """Return nothing: the reader holds nothing back."""
        return []

    def has_text(self, scope: Scope) -> bool:
        """Return whether a response that also has an error may contain images."""
        kinds = str if self._rule.images is IMAGE_BODY else dict | str
        return any(isinstance(item, kinds) for item in self._items(scope))

    def no_output_message(self) -> str:
        """Return the error text for a response without images."""
        path = self._rule.images.text if self._rule.images else ""
        if not path:
            return "the route has no `images` to read from this response"
        places = ", ".join(find_text_paths(self._samples, path))
        return f"`{path}` matched no image in the upstream's response; " + (
            f"text is at {places}" if places else "the response contains no text"
        )

    def _items(self, scope: Scope) -> list[Any]:
        images = self._rule.images
        return [] if images is None else as_list(images.find(scope))

    def _image(self, scope: Scope) -> Image | None:
        """Return the image of one item: by the rule's slots, in OpenAI's shape, or the item itself."""
        rule, item = self._rule, scope.item
        members = item if isinstance(item, dict) else {}
        if rule.url is None and rule.b64_json is None:
            url, base64 = members.get("url", item), members.get("b64_json")
        else:
            url, base64 = (slot.read(scope) if slot else None for slot in (rule.url, rule.b64_json))
        slot = rule.revised_prompt
        return read_image(url, base64, slot.read(scope) if slot else members.get("revised_prompt"))


class ImagesPassthrough(ImagesReader):
    """The reader of OpenAI's own images: the upstream's bytes, unless they have to be normalized."""

    __slots__ = ("_info",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, info: ResponseInfo) -> None:
        super().__init__(rule, options)
        self._info = info

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the bytes of the body."""
        images = super().read(scope)
        if not images:
            return []
        body = normalize_images(scope.doc, images, self._info, self.usage)
        return [data if body is scope.doc and data is not None else json.dumps(body)]
