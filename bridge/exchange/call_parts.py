"""The parts of a request that go into one upstream call each, by endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core.errors import RequestError
from bridge.exchange.request_document import prompt_to_messages
from bridge.routes.rules.body_rules import EditedBody, TemplateBody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = [
    "CallPart",
    "CallParts",
    "LazyParts",
    "chat_part",
    "documents_part",
    "image_part",
    "input_batches",
    "prompt_parts",
]

# The members of the request document that hold all inputs; None: a template may read every member.
_INPUTS: frozenset[str | None] = frozenset({"input", "inputs", "raw", None})


@dataclass(slots=True)
class CallPart:
    """The part of a request that one upstream call carries."""

    body: JSONObject
    messages: list[JSONObject]  # a prompt or input that is one text is a message of a user
    text: str | None = None  # the one text of a call that is not a chat
    inputs: int = 1  # results that the call is to bring, for each of its `n`


class LazyParts:
    """The parts of a request that is split. Each is made when it is used, since each holds a body."""

    __slots__ = ("_number", "_parts")

    def __init__(self, number: int, parts: Iterator[CallPart]) -> None:
        self._number = number
        self._parts = parts

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[CallPart]:
        return self._parts


CallParts = tuple[CallPart, ...] | LazyParts


def chat_part(plan: EndpointPlan, body: JSONObject) -> CallParts:
    """Return a chat, which is never split."""
    return (CallPart(body, body["messages"]),)


def prompt_parts(plan: EndpointPlan, body: JSONObject) -> CallParts:
    """Return each legacy prompt as a chat; all of them as they are where completions are not sent as chats.

    Raises RequestError if a chat is made of tokens.
    """
    prompt = body["prompt"]
    texts = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
    if plan.keeps_completion:
        if plan.reads_choices or len(texts) == 1:
            return (_completion_part(body, prompt, len(texts)),)
        return LazyParts(len(texts), (_completion_part(body, text, 1) for text in texts))
    if not isinstance(texts[0], str):  # a list contains either texts or tokens
        raise _no_tokens("prompt")
    rest = {name: value for name, value in body.items() if name != "prompt"}
    if len(texts) == 1:
        return (_prompt_part(rest, texts[0]),)
    return LazyParts(len(texts), (_prompt_part(rest, text) for text in texts))


def _completion_part(body: JSONObject, prompt: Any, prompts: int) -> CallPart:
    text = prompt if isinstance(prompt, str) else None
    if prompt is not body["prompt"]:
        body = {**body, "prompt": prompt}
    return CallPart(body, prompt_to_messages(text or ""), text, prompts)


def _prompt_part(rest: JSONObject, text: str) -> CallPart:
    return CallPart({**rest, "messages": prompt_to_messages(text)}, prompt_to_messages(text), text)


def input_batches(plan: EndpointPlan, body: JSONObject) -> CallParts:
    """Return the inputs to embed, in batches of the size that the upstream accepts.

    Raises RequestError if a text is required and an input is tokens.
    """
    value, rule = body["input"], plan.body_rule
    inputs = [value] if isinstance(value, str) or isinstance(value[0], int) else value
    if isinstance(rule, TemplateBody) and not all(isinstance(text, str) for text in inputs):
        raise _no_tokens("input")
    if not _forwards_encoding_format(plan):
        body = {name: member for name, member in body.items() if name != "encoding_format"}
    size = plan.route.emulate.batch or len(inputs)
    if isinstance(rule, TemplateBody) and not _INPUTS & rule.reads:
        size = 1  # the template only reads the one text
    if size >= len(inputs):
        alone = plan.route.emulate.batch == 1 and inputs is value
        return (_input_part(body, inputs, inputs[0] if alone else value),)
    batches = (inputs[start : start + size] for start in range(0, len(inputs), size))
    parts = (_input_part(body, batch, batch[0] if size == 1 else batch) for batch in batches)
    return LazyParts(-(-len(inputs) // size), parts)


def _input_part(body: JSONObject, batch: list[Any], sent: Any) -> CallPart:
    text = batch[0] if len(batch) == 1 and isinstance(batch[0], str) else None
    messages = [] if text is None else prompt_to_messages(text)
    return CallPart({**body, "input": sent}, messages, text, len(batch))


def image_part(plan: EndpointPlan, body: JSONObject) -> CallParts:
    """Return the prompt of an image, which is never split."""
    return (CallPart(body, prompt_to_messages(body["prompt"]), body["prompt"]),)


def documents_part(plan: EndpointPlan, body: JSONObject) -> CallParts:
    """Return the documents to rank, which are never split: scores of several calls may not compare."""
    return (CallPart(body, prompt_to_messages(body["query"]), body["query"], len(body["documents"])),)


def _no_tokens(name: str) -> RequestError:
    hint = " (LangChain sends texts with `check_embedding_ctx_length=False`)" if name == "input" else ""
    return RequestError(
        400, f"this model accepts texts, not tokens, as `{name}`{hint}", param=name, code="invalid_type"
    )


def _forwards_encoding_format(plan: EndpointPlan) -> bool:
    """Return whether `encoding_format`, which the bridge serves itself, is sent to the upstream too.

    OpenAI-compatible upstreams accept the parameter; others get it if the route names it.
    """
    name, rule = "encoding_format", plan.body_rule
    named = isinstance(rule, EditedBody) and (name in (rule.keep or ()) or name in rule.rename)
    return (
        plan.route.response.openai_non_streaming
        or named
        or name in plan.request_template.reads
        or isinstance(rule, TemplateBody)
    )
