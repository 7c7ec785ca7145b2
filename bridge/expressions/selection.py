"""The options of `$each` that choose among the elements of a list: `skip`, `when` and `merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors, Scope

    Select = Callable[[Scope, list[Any]], list[Any]]

__all__ = ["compile_selection", "merge_consecutive"]


def compile_selection(
    options: dict[Any, Any], holds: Callable[[Scope], bool] | None, errors: RuleErrors
) -> Select | None:
    """Compile the options to a function of the list; None without options. `holds` is the compiled `when`."""
    merge, skip = options.get("merge"), _role_names(options.get("skip", []), errors.below("skip"))
    if merge is not None and not isinstance(merge, str):
        errors.below("merge").add("not the name of a member", expected="a name, such as role")
    if merge is None and not skip and holds is None:
        return None

    def select(scope: Scope, items: list[Any]) -> list[Any]:
        if skip:
            items = [item for item in items if _role(item) not in skip]
        if holds is not None:
            items = [item for item in items if holds(scope.with_item(item))]
        return items if merge is None else merge_consecutive(items, merge)

    return select


def merge_consecutive(items: list[Any], key: str) -> list[Any]:
    """Merge neighbours whose member `key` is equal: texts with a blank line between, lists end to end."""
    runs: list[list[Any]] = []
    for item in items:
        last = runs[-1][-1] if runs else None
        if isinstance(item, dict) and isinstance(last, dict) and item.get(key) == last.get(key):
            runs[-1].append(item)
        else:
            runs.append([item])
    return [_merge(run) if len(run) > 1 else run[0] for run in runs]


def _merge(run: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one object for several. Every content is copied once, however many there are."""
    merged: dict[str, Any] = {}
    for item in run:
        merged |= item
    contents = [item.get("content") for item in run]
    first = next((content for content in contents if content is not None), None)
    match first:
        case str():
            merged["content"] = "\n\n".join(content for content in contents if isinstance(content, str))
        case list():
            lists = (content for content in contents if isinstance(content, list))
            merged["content"] = [part for parts in lists for part in parts]
        case _:
            merged["content"] = first
    return merged


def _role(item: Any) -> str | None:
    role = item.get("role") if isinstance(item, dict) else None
    return role if isinstance(role, str) else None


def _role_names(value: Any, errors: RuleErrors) -> frozenset[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        errors.add("not a list of roles", expected="a list of roles, such as [system]")
        return frozenset()
    return frozenset(names)
