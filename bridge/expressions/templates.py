"""Templates of any JSON shape, compiled to functions that build the value.

    {model: $.model, params: {prompt: ["$.prompt"]}}  ─▶  template(scope) ─▶ {"model": …, "params": …}

A leaf is a path, a Jinja text, or a literal. A leaf whose path finds nothing is left out, of a list too; the
mapping around the leaf stays. A mapping with a key that begins with `$` is an instruction: `$path`, `$each`
or `$when`.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.strings import is_template, key_text
from bridge.expressions.conditions import compile_request_condition
from bridge.expressions.guarded_leaves import Guard, GuardedLeaves
from bridge.expressions.paths import compile_path, is_path
from bridge.expressions.selection import compile_selection
from bridge.expressions.transforms import TRANSFORMS, compile_transforms, unmapped_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors, Scope

    Build = Callable[[Scope], Any]

__all__ = ["ValueTemplate", "compile_body", "compile_text"]


class ValueTemplate:
    """A compiled template."""

    __slots__ = (
        "_build",
        "copied_members",  # members of the document that are always copied whole and unchanged
        "guarded",  # leaves that are only sent if a condition holds
        "literal",  # the value is the same text each time
        "reads",  # members of the document that are read; contains None if every member may be read
    )

    def __init__(
        self,
        build: Build,
        reads: set[str | None],
        copied_members: set[str],
        *,
        literal: bool = False,
        guarded: GuardedLeaves | None = None,
    ) -> None:
        self._build = build
        self.guarded = guarded
        self.reads = frozenset(reads)
        self.copied_members = frozenset(copied_members)
        self.literal = literal

    def __call__(self, scope: Scope) -> Any:
        """Return the value; MISSING if no part of the value was found."""
        return self._build(scope)


def compile_body(value: Any, errors: RuleErrors) -> ValueTemplate:
    """Compile a template of any shape."""
    compiler = _TemplateCompiler()
    build = compiler.compile(value, errors)
    return ValueTemplate(build, compiler.reads, compiler.copied_members, guarded=compiler.guarded)


def compile_text(
    value: str, errors: RuleErrors, finalize: Callable[[Any], Any] | None = None
) -> ValueTemplate:
    """Compile a text that may contain Jinja, but is never a path: a URL, a header, a model's name.

    `finalize` converts the value of each expression in the text.
    """
    compiler = _TemplateCompiler(finalize)
    build = compiler.text(value, errors)
    return ValueTemplate(build, compiler.reads, compiler.copied_members, literal=not is_template(value))


class _TemplateCompiler:
    """The compiler of one template. Collects the members of the document that the template reads."""

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        self.reads: set[str | None] = set()
        self.copied_members: set[str] = set()
        self.guarded = GuardedLeaves()
        self._guards: list[Guard] = []  # conditions around the current value
        self._finalize = finalize
        self._lists = 0  # `$each` around the current value

    def compile(self, value: Any, errors: RuleErrors) -> Build:
        """Compile a value of any shape."""
        if isinstance(value, dict):
            return self._mapping(value, errors)
        if isinstance(value, list):
            return self._list(value, errors)
        if is_path(value):
            return self._path(value, errors, copies=True)
        if isinstance(value, str):
            return self.text(value, errors)
        return lambda scope: value

    def text(self, value: str, errors: RuleErrors) -> Build:
        """Compile a text that may contain Jinja."""
        if not is_template(value):
            literal = str(value)
            return lambda scope: literal
        # Few files need Jinja, which costs start-up time and memory.
        from bridge.core.jinja import JinjaTemplate, UnknownNameError

        try:
            template = JinjaTemplate(value, finalize=self._finalize)
        except UnknownNameError as error:
            known = get_close_matches(error.word, error.known)
            errors.add(f"not a valid Jinja template: {error}", known=known, word=error.word)
            return lambda scope: ""
        except ValueError as error:
            errors.add(f"not a valid Jinja template: {error}")
            return lambda scope: ""
        if "item" in template.variables and not self._lists:
            errors.add("`item` outside a list", expected="`item` inside `$as`, or a member of the request")
        for name in sorted(template.variables - {"item"}):
            self.reads.add(name)
            errors.add_read(name, in_template=True)
        return lambda scope: template(
            scope.doc if scope.item is MISSING else {**scope.doc, "item": scope.item}
        )

    def _path(self, value: str, errors: RuleErrors, *, copies: bool) -> Build:
        """Compile a path; `copies` is whether the value is used as found."""
        try:
            path = compile_path(value)
        except ValueError as error:
            errors.add(str(error))
            return _missing
        if path.on_item:
            if not self._lists:
                errors.add("`$item` outside a list", expected="`$item` inside `$as`, or a path from `$`")
        else:
            self.reads.add(path.head)
            if path.head is not None:  # conditions within a list are on its elements
                self.guarded.add(path.head, [] if self._lists else self._guards)
            if path.head is not None:
                errors.add_read(path.head)
            if copies and path.steps and len(path.steps) == 1:
                self.copied_members.add(str(path.head))
        return path.find

    def _mapping(self, value: dict[Any, Any], errors: RuleErrors) -> Build:
        instructions = [key for key in value if isinstance(key, str) and key[:1] == "$" and key[:2] != "$$"]
        if instructions:
            return self._instruction(instructions[0], value, errors)
        members = [
            (
                key[1:] if str(key).startswith("$$") else key_text(key),
                _member(item),
                self.compile(item, errors.below(key)),
            )
            for key, item in value.items()
        ]

        def build(scope: Scope) -> dict[str, Any]:
            built, doc = {}, scope.doc
            for key, name, build_member in members:
                if name is not None:  # most leaves copy one member, which needs no call
                    if name in doc:
                        built[key] = doc[name]
                elif (found := build_member(scope)) is not MISSING:
                    built[key] = found
            return built

        return build

    def _list(self, value: list[Any], errors: RuleErrors) -> Build:
        items = [self.compile(item, errors.below(n)) for n, item in enumerate(value)]

        def build(scope: Scope) -> list[Any]:
            built = []
            for build_item in items:
                found = build_item(scope)
                if found is not MISSING:
                    built.append(found)
            return built

        return build

    def _instruction(self, key: str, value: dict[Any, Any], errors: RuleErrors) -> Build:
        for name, (options, compile_instruction) in _INSTRUCTIONS.items():
            if name in value:
                errors.check_keys(value, (name, *options))
                return compile_instruction(self, value, errors)
        errors.below(key).add_key("unknown instruction", known=_INSTRUCTIONS, word=key)
        return _missing

    def path_instruction(self, value: dict[Any, Any], errors: RuleErrors) -> Build:
        """Compile `$path`: one value, transformed, with a default."""
        if not is_path(value["$path"]):
            errors.below("$path").add(
                f"`{value['$path']}` is not a path", expected="a path, such as $.max_tokens"
            )
            return _missing
        holds = self._when(value, errors)
        guards = self._guards
        if holds is not None:
            self._guards = [*guards, Guard(holds, value["when"])]
        altering = (TRANSFORMS.keys() | {"when"}) & value.keys() - {"as"}
        find = self._path(value["$path"], errors.below("$path"), copies=not altering)
        self._guards = guards
        transform = compile_transforms(value, errors)
        copied = set(self.copied_members)
        default = self.compile(value["default"], errors.below("default")) if "default" in value else _missing
        self.copied_members = copied  # a default is not always sent

        def build(scope: Scope) -> Any:
            found = find(scope) if holds is None or holds(scope) else MISSING
            if found is MISSING:
                return default(scope)
            if transform is None:
                return found
            transformed = transform(found)
            unmapped = unmapped_value(transformed)
            if unmapped is MISSING:
                return transformed
            return unmapped if default is _missing else default(scope)

        return build

    def each_instruction(self, value: dict[Any, Any], errors: RuleErrors) -> Build:
        """Compile `$each`: a list, built from the elements of another list."""
        if not is_path(value["$each"]):
            errors.below("$each").add(
                f"`{value['$each']}` is not a path", expected="a path, such as $.messages"
            )
            return _missing
        find = self._path(value["$each"], errors.below("$each"), copies=value.keys() == {"$each"})
        self._lists += 1
        build_item = self.compile(value.get("$as", "$item"), errors.below("$as"))
        select = compile_selection(value, self._when(value, errors), errors)
        self._lists -= 1

        def build(scope: Scope) -> Any:
            found = find(scope)
            if found is MISSING or found is None:
                return MISSING
            items = found if isinstance(found, list) else [found]
            if select is not None:
                items = select(scope, items)
            return [built for item in items if (built := build_item(scope.with_item(item))) is not MISSING]

        return build

    def when_instruction(self, value: dict[Any, Any], errors: RuleErrors) -> Build:
        """Compile `$when`: one of two values, by a condition."""
        holds = self._condition(value["$when"], errors.below("$when"))
        copied = set(self.copied_members)
        guards = self._guards
        if "$else" not in value:  # the other branch may send the same members
            self._guards = [*guards, Guard(holds, value["$when"])]
        then = self.compile(value.get("$then"), errors.below("$then"))
        self._guards = guards
        if "$then" not in value:
            errors.add("`$then` is missing", expected="$when, $then and optionally $else")
        otherwise = self.compile(value["$else"], errors.below("$else")) if "$else" in value else _missing
        self.copied_members = copied  # neither branch is always sent
        return lambda scope: then(scope) if holds(scope) else otherwise(scope)

    def _condition(self, value: Any, errors: RuleErrors) -> Callable[[Scope], bool]:
        condition = compile_request_condition(value, errors, in_list=bool(self._lists))
        self.reads |= condition.reads
        return condition.holds

    def _when(self, value: dict[Any, Any], errors: RuleErrors) -> Callable[[Scope], bool] | None:
        return self._condition(value["when"], errors.below("when")) if "when" in value else None


def _missing(scope: Scope) -> Any:
    return MISSING


def _member(value: Any) -> str | None:
    """Return the name of a leaf of the form `$.name`; None for any other value."""
    match = _MEMBER.fullmatch(value) if type(value) is str else None
    return match and match[1]


_MEMBER = re.compile(r"\$\.([\w-]+)")

_INSTRUCTIONS: dict[
    str, tuple[tuple[str, ...], Callable[[_TemplateCompiler, dict[Any, Any], RuleErrors], Build]]
] = {
    "$path": (("default", "when", *TRANSFORMS), _TemplateCompiler.path_instruction),
    "$each": (("$as", "when", "merge", "skip"), _TemplateCompiler.each_instruction),
    "$when": (("$then", "$else"), _TemplateCompiler.when_instruction),
}
