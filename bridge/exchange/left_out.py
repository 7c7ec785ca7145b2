"""The client's parameters that a template leaves out of one request, to be named as dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.expressions.scope import Scope
from bridge.routes.rules.body_rules import TemplateBody
from bridge.tool_formats import unsent_members

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["left_out"]


def left_out(plan: EndpointPlan, body: JSONObject, document: JSONObject) -> tuple[str, ...]:
    """Return the parameters that conditions exclude, and members of messages that are not sent."""
    rule = plan.body_rule
    if not isinstance(rule, TemplateBody):
        return ()
    guarded = rule.template.guarded
    names = guarded.left_out(Scope(document)) if guarded is not None else []
    names = [name for name in names if body.get(name) is not None]
    if plan.route.request.tools is not None and isinstance(messages := body.get("messages"), list):
        names += unsent_members(messages)
    return tuple(names)
