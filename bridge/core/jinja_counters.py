"""Nodes that count, inserted into a parsed template: see `jinja_limits.py`.

{% for m in messages %}…          ─▶  {% for m in messages %}{% count %}…
[a, b]   {a: b}   a ~ b           ─▶  [a, b] | made
list[1:]   a in b                 ─▶  list[1:] | read
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from bridge.core.jinja_limits import COUNT, MADE, READ

__all__ = ["insert_counters"]


def insert_counters(tree: nodes.Template) -> bool:
    """Insert nodes that count. Return whether the template can take more than its text and values suggest."""
    if all(_is_bounded(node) for node in tree.find_all(nodes.Node)):
        return False
    _Counters().visit(tree)
    return True


def _is_bounded(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        return node.name in _BOUNDED_FILTERS
    return isinstance(node, _BOUNDED)


class _Counters(NodeTransformer):
    """Inserts nodes that count."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - names that jinja2.visitor looks for
        self.generic_visit(node)
        if node.test is not None:  # counts elements that the test leaves out
            node.test = nodes.And(self._filter(node, COUNT, nodes.Const(1)), node.test, lineno=node.lineno)
        return self._counting(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._counting(node)

    visit_CallBlock = visit_Macro  # noqa: N815

    def visit_List(self, node: nodes.Expr) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load":
            return node  # the names of an assignment
        return self._filter(node, MADE, node)

    visit_Tuple = visit_Dict = visit_Concat = visit_List  # noqa: N815

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._filter(node, READ, node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        for operand in node.ops:
            if not isinstance(operand.expr, nodes.Const) and not isinstance(node.expr, nodes.Const):
                operand.expr = self._filter(node, READ, operand.expr)
        return node

    def _counting(self, node: nodes.For | nodes.Macro) -> nodes.Node:
        """Return a loop or a macro that counts each run of its body, with the literal text in the body."""
        size = sum(len(data.data) for part in node.body for data in part.find_all(nodes.TemplateData))
        count = self._filter(node, COUNT, nodes.Const(1 + size))
        node.body.insert(0, nodes.ExprStmt(count, lineno=node.lineno))
        return node

    def _filter(self, node: nodes.Node, name: str, value: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(value, name, [], [], None, None, lineno=node.lineno)


_BOUNDED_FILTERS = {"path", "base64", "tojson", "trim", "default", "d", "string", "lower", "upper"}
_BOUNDED = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Const, nodes.If, nodes.Test, nodes.Not,
    nodes.And, nodes.Or, nodes.CondExpr,
)  # fmt: skip
