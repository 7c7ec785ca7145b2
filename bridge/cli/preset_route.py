"""A preset as a whole routes file: its rules as a route of its own, with a URL and a key to replace.

The example in the head of each preset has the URL and the key:

    #     - preset: anthropic                      routes:
    #       models: "claude-*"                       - name: anthropic
    #       upstream: https://api.anthropic.com  ─▶    models: "claude-*"
    #       auth: {value: "${KEY}"}                    upstream: https://api.anthropic.com  # <- yours
    …                                                  auth: {header: x-api-key, value: "${KEY}"}  # <- yours
    auth: {header: x-api-key}                          …
"""

from __future__ import annotations

import re
from textwrap import dedent, indent

from bridge.config.problems import Problems
from bridge.config.yaml_tree import Node, parse
from bridge.core.strings import flow_text

__all__ = ["preset_route"]

_MARK = "# <- yours"
_OWN = ("models", "upstream")  # keys of the example that the rules lack


def preset_route(name: str, text: str) -> str:
    """Return a routes file with the rules of a preset; `_MARK` is beside what the user replaces."""
    head, _, rules = text.partition("\n\n")
    example = _example(head)
    auth = example.get("auth")
    if auth is not None:
        rules = _with_key(rules, auth)
    lines = [f"name: {name}"]
    lines += [f"{key}: {_written(member)}  {_MARK}" for key in _OWN if (member := example.get(key))]
    stream_url = example.get("stream", "url")
    if stream_url is not None:
        rules = re.sub(
            r"^stream:\n", f"stream:\n  url: {_written(stream_url)}  {_MARK}\n", rules, flags=re.MULTILINE
        )
    route = "\n".join([*lines, rules.strip("\n"), ""])
    return f"{head}\n\nroutes:\n  - {indent(route, '    ').lstrip()}"


def _example(head: str) -> Node:
    """Return the route in the head of a preset."""
    lines = [line[1:] for line in head.split("\n") if line.startswith("#   ")]
    tree = parse(dedent("\n".join(lines)), "example", Problems())
    assert tree is not None
    return tree.find(("routes", 0))


def _with_key(rules: str, auth: Node) -> str:
    """Return the rules of a preset with the key that the example adds to its `auth`."""
    kind, members = next(iter(auth.value.items()))
    if not re.search(r"^auth:", rules, flags=re.MULTILINE):
        return f"auth: {_written(auth)}  {_MARK}\n{rules}"
    if kind == "value":
        return re.sub(
            r"^auth: \{(.*?)\}",
            f"auth: {{\\1, value: {_written(members)}}}  {_MARK}",
            rules,
            flags=re.MULTILINE,
        )
    flow = re.search(rf"^auth: \{{{kind}: \{{(.*?)\}}\}}", rules, flags=re.MULTILINE)
    block = re.search(rf"^auth:\n  {kind}:\n", rules, flags=re.MULTILINE)
    if flow is not None:
        added = ", ".join(f"{key}: {_written(value)}" for key, value in members.value.items())
        return rules.replace(flow[0], f"auth: {{{kind}: {{{flow[1]}, {added}}}}}  {_MARK}")
    if block is None:  # the example has another way to authenticate
        other = f"auth: {_written(auth)}  {_MARK}"
        return re.sub(r"^auth:.*(\n +.*)*", other, rules, count=1, flags=re.MULTILINE)
    keys = "".join(f"    {key}: {_written(value)}  {_MARK}\n" for key, value in members.value.items())
    return rules.replace(block[0], block[0] + keys)


def _written(node: Node) -> str:
    return flow_text(node.plain())
