"""Templates of request bodies: any JSON shape, compiled to a function that builds it.

    {model: $.model, params: {prompt: ["$.prompt"]}}  ─▶  build(Scope) -> {"model": …, "params": …}

A leaf is a path, a Jinja text or itself. A leaf whose path finds nothing is left out, in a list too; the
mapping around it stays. A mapping with a `$` key is an instruction: `$path`, `$each` or `$when`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.strings import is_template, key_text
from bridge.expressions.conditions import compile_when
from bridge.expressions.paths import compile_path, is_path
from bridge.expressions.transforms import TRANSFORMS, compile_transforms, unmapped_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors, Scope

    Build = Callable[[Scope], Any]

__all__ = ["ValueTemplate", "compile_body", "compile_text"]


class ValueTemplate:
    """A compiled template.

    `reads`: the members of the document it looks at, None in it where it may look at all of them.
    `passes`: those that go on whole, unadjusted. `literal`: it is a text that says the same each time.
    """

    __slots__ = ("_build", "copied_members", "literal", "reads")

    def __init__(
        self, build: Build, reads: set[str | None], passes: set[str], *, literal: bool = False
    ) -> None:
        self._build = build
        self.reads = frozenset(reads)
        self.copied_members = frozenset(passes)
        self.literal = literal

    def __call__(self, scope: Scope) -> Any:
        """Build the value; MISSING where nothing was found for it."""
        return self._build(scope)


def compile_body(value: Any, faults: RuleErrors) -> ValueTemplate:
    """Compile a template of any shape."""
    compiler = _TemplateCompiler()
    return ValueTemplate(compiler.compile(value, faults), compiler.reads, compiler.passes)


def compile_text(
    value: str, faults: RuleErrors, finalize: Callable[[Any], Any] | None = None
) -> ValueTemplate:
    """Compile a text that may be Jinja, never a path: a URL, a header, a model's name."""
    compiler = _TemplateCompiler(finalize)
    build = compiler.text(value, faults)
    return ValueTemplate(build, compiler.reads, compiler.passes, literal=not is_template(value))


class _TemplateCompiler:
    """Compiles one template and notes what it reads."""

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        self.reads: set[str | None] = set()
        self.passes: set[str] = set()
        self._finalize = finalize

    def compile(self, value: Any, faults: RuleErrors) -> Build:
        if isinstance(value, dict):
            return self._mapping(value, faults)
        if isinstance(value, list):
            return self._list(value, faults)
        if is_path(value):
            return self._path(value, faults, passes=True)
        if isinstance(value, str):
            return self.text(value, faults)
        return lambda scope: value

    def text(self, value: str, faults: RuleErrors) -> Build:
        if not is_template(value):
            literal = str(value)
            return lambda scope: literal
        from bridge.core.jinja import (
            JinjaTemplate,  # Jinja costs start and memory, which not every file needs
        )

        try:
            template = JinjaTemplate(value, finalize=self._finalize)
        except ValueError as error:
            faults.add(f"no Jinja template: {error}")
            return lambda scope: ""
        self.reads |= template.variables - {"item"}
        return lambda scope: template(
            scope.doc if scope.item is MISSING else {**scope.doc, "item": scope.item}
        )

    def _path(self, value: str, faults: RuleErrors, *, passes: bool) -> Build:
        try:
            path = compile_path(value)
        except ValueError as error:
            faults.add(str(error))
            return lambda scope: MISSING
        if not path.on_item:
            self.reads.add(path.head)
            if passes and path.steps and len(path.steps) == 1:
                self.passes.add(str(path.head))
        return path.find

    def _mapping(self, value: dict[Any, Any], faults: RuleErrors) -> Build:
        instructions = [key for key in value if isinstance(key, str) and key[:1] == "$" and key[:2] != "$$"]
        if instructions:
            return self._instruction(instructions[0], value, faults)
        members = [
            (
                key[1:] if str(key).startswith("$$") else key_text(key),
                _member(item),
                self.compile(item, faults.below(key)),
            )
            for key, item in value.items()
        ]

        def build(scope: Scope) -> dict[str, Any]:
            built, doc = {}, scope.doc
            for key, name, make in members:
                if name is not None:
                    if name in doc:
                        built[key] = doc[name]
                elif (found := make(scope)) is not MISSING:
                    built[key] = found
            return built

        return build

    def _list(self, value: list[Any], faults: RuleErrors) -> Build:
        items = [self.compile(item, faults.below(n)) for n, item in enumerate(value)]

        def build(scope: Scope) -> list[Any]:
            built = []
            for make in items:
                found = make(scope)
                if found is not MISSING:
                    built.append(found)
            return built

        return build

    def _instruction(self, key: str, value: dict[Any, Any], faults: RuleErrors) -> Build:
        for name, (options, compiled) in _INSTRUCTIONS.items():
            if name in value:
                faults.unknown(value, (name, *options))
                return compiled(self, value, faults)
        faults.below(key).add_key("unknown instruction", known=_INSTRUCTIONS, word=key)
        return lambda scope: MISSING

    def path_instruction(self, value: dict[Any, Any], faults: RuleErrors) -> Build:
        if not is_path(value["$path"]):
            faults.below("$path").add(
                f"`{value['$path']}` is no path", expected="a path, such as $.max_tokens"
            )
            return lambda scope: MISSING
        altering = (TRANSFORMS.keys() | {"when"}) & value.keys() - {"as"}
        find = self._path(value["$path"], faults.below("$path"), passes=not altering)
        adjust = compile_transforms(value, faults)
        holds = self._when(value, faults)
        passing = set(self.passes)
        default = self.compile(value["default"], faults.below("default")) if "default" in value else None
        self.passes = passing  # what only may be sent does not count

        def build(scope: Scope) -> Any:
            found = find(scope) if holds is None or holds(scope) else MISSING
            if found is MISSING:
                return default(scope) if default else MISSING
            if adjust is None:
                return found
            adjusted = adjust(found)
            passing = unmapped_value(adjusted)
            if passing is MISSING:
                return adjusted
            return default(scope) if default else passing

        return build

    def each_instruction(self, value: dict[Any, Any], faults: RuleErrors) -> Build:
        if not is_path(value["$each"]):
            faults.below("$each").add(f"`{value['$each']}` is no path", expected="a path, such as $.messages")
            return lambda scope: MISSING
        find = self._path(value["$each"], faults.below("$each"), passes=value.keys() == {"$each"})
        make = self.compile(value.get("$as", "$item"), faults.below("$as"))
        holds = self._when(value, faults)
        merge, skip = value.get("merge"), _words(value.get("skip", []), faults.below("skip"))
        if merge is not None and not isinstance(merge, str):
            faults.below("merge").add("no name of a member", expected="a name, such as role")

        def build(scope: Scope) -> Any:
            found = find(scope)
            if found is MISSING or found is None:
                return MISSING
            items = found if isinstance(found, list) else [found]
            if skip:
                items = [item for item in items if _role(item) not in skip]
            if holds is not None:
                items = [item for item in items if holds(scope.with_item(item))]
            if merge is not None:
                items = merge_consecutive(items, merge)
            return [built for item in items if (built := make(scope.with_item(item))) is not MISSING]

        return build

    def when_instruction(self, value: dict[Any, Any], faults: RuleErrors) -> Build:
        holds = self.when(value["$when"], faults.below("$when"))
        passing = set(self.passes)
        then = self.compile(value.get("$then"), faults.below("$then"))
        if "$then" not in value:
            faults.add("`$then` is missing", expected="$when, $then and perhaps $else")
        other = self.compile(value["$else"], faults.below("$else")) if "$else" in value else lambda _: MISSING
        self.passes = passing  # what only may be sent does not count
        return lambda scope: then(scope) if holds(scope) else other(scope)

    def when(self, value: Any, faults: RuleErrors) -> Callable[[Scope], bool]:
        condition = compile_when(value, faults, fields=False)
        self.reads |= condition.reads
        return condition.holds

    def _when(self, value: dict[Any, Any], faults: RuleErrors) -> Callable[[Scope], bool] | None:
        return self.when(value["when"], faults.below("when")) if "when" in value else None


def merge_consecutive(items: list[Any], key: str) -> list[Any]:
    """Join neighbours whose `key` is equal: texts by a blank line, lists one after the other."""
    merged: list[Any] = []
    for item in items:
        last = merged[-1] if merged else None
        if isinstance(item, dict) and isinstance(last, dict) and item.get(key) == last.get(key):
            merged[-1] = last | item | {"content": _joined(last.get("content"), item.get("content"))}
        else:
            merged.append(item)
    return merged


def _joined(one: Any, other: Any) -> Any:
    match one, other:
        case str(), str():
            return f"{one}\n\n{other}"
        case list(), list():
            return one + other
        case _:
            return other if one is None else one


def _role(item: Any) -> Any:
    role = item.get("role") if isinstance(item, dict) else None
    return role if isinstance(role, str) else None


def _words(value: Any, faults: RuleErrors) -> frozenset[str]:
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        faults.add("no list of roles", expected="a list of roles, such as [system]")
        return frozenset()
    return frozenset(words)


def _member(value: Any) -> str | None:
    """The member of the document that a leaf is, the most frequent of all; None of any other."""
    found = _MEMBER.fullmatch(value) if type(value) is str else None
    return found and found[1]


_MEMBER = re.compile(r"\$\.([\w-]+)")

_INSTRUCTIONS: dict[
    str, tuple[tuple[str, ...], Callable[[_TemplateCompiler, dict[Any, Any], RuleErrors], Build]]
] = {
    "$path": (("default", "when", *TRANSFORMS), _TemplateCompiler.path_instruction),
    "$each": (("$as", "when", "merge", "skip"), _TemplateCompiler.each_instruction),
    "$when": (("$then", "$else"), _TemplateCompiler.when_instruction),
}
