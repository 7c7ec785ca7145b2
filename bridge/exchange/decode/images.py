"""Reads generated images: one answer, one image or more in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, Image
from bridge.exchange.decode.response_reader import ResponseReader, as_list, record_count
from bridge.expressions.paths import find_text_paths
from bridge.openai.images import normalize_images, read_image

if TYPE_CHECKING:
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.encoders import CompletionInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["ImagesPassthrough", "ImagesReader"]


class ImagesReader(ResponseReader):
    """The images of one upstream call."""

    __slots__ = ("_seen_docs",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions) -> None:
        super().__init__(rule, options)
        self._seen_docs: list[Any] = []

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The images. Raises UpstreamError where one is none."""
        self.count(scope)
        told = scope.doc.get("usage") if isinstance(scope.doc, dict) else None
        if isinstance(told, dict):
            for name, other in _USAGE.items():
                if name not in self._counts:
                    record_count(self._counts, name, told.get(other, MISSING), total=False)
        found = [
            image for item in self._items(scope) if (image := self._image(scope.with_item(item))) is not None
        ]
        if not found:
            self._seen_docs.append(scope.doc)
        self.has_output = self.has_output or bool(found)
        return [image._replace(choice=number) for number, image in enumerate(found)]

    def close(self) -> list[Any]:
        """Nothing is held back."""
        return []

    def has_text(self, scope: Scope) -> bool:
        """Whether there may be images in the answer."""
        return any(isinstance(item, dict | str) for item in self._items(scope))

    def no_text_message(self) -> str:
        """What to say of an answer in which none was found."""
        wanted = self._rule.images.text if self._rule.images else ""
        if not wanted:
            return "the route has no `images` to read from this answer"
        where = ", ".join(find_text_paths(self._seen_docs, wanted))
        return f"`{wanted}` matched no image in the upstream's answer; " + (
            f"text is at {where}" if where else "there is no text in it at all"
        )

    def _items(self, scope: Scope) -> list[Any]:
        images = self._rule.images
        return [] if images is None else as_list(images.find(scope))

    def _image(self, scope: Scope) -> Image | None:
        """The image of one item: by the rule's slots, or as OpenAI has it, or the item itself."""
        rule, item = self._rule, scope.item
        parts = item if isinstance(item, dict) else {}
        if rule.url is None and rule.b64_json is None:
            url, data = parts.get("url", item), parts.get("b64_json")
        else:
            url, data = (slot.read(scope) if slot else None for slot in (rule.url, rule.b64_json))
        prompt = rule.revised_prompt.read(scope) if rule.revised_prompt else parts.get("revised_prompt")
        return read_image(url, data, prompt)


class ImagesPassthrough(ImagesReader):
    """The same of a server that speaks OpenAI's language: its own bytes, unless they have to be mended."""

    __slots__ = ("_head",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, head: CompletionInfo) -> None:
        super().__init__(rule, options)
        self._head = head

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The bytes of the body."""
        images = super().read(scope)
        if not images:
            return []
        mended = normalize_images(scope.doc, images, self._head, self.usage)
        return [data if mended is scope.doc and data is not None else json.dumps(mended)]


_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
