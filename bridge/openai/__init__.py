"""The clients' side: the checks of requests, the encoders of responses and errors, one module per endpoint.

    endpoint_spec.py       the description of an endpoint
    endpoints.py           the registry of endpoints
    chat.py, completions.py, embeddings.py, images.py, rerank.py
    responses*.py          the Responses API: requests to chat requests, deltas to output items and events
    messages*.py           Anthropic's Messages API: the same with blocks
    translation.py         the result of such a translation; token_counts.py the paths that count tokens

    request_validation.py  the checks that all endpoints share
    encoders.py            deltas to chunks, or to one completion; response_encoder.py the interface
    joined_members.py      members of a message, joined from deltas; folded_tool_calls.py its tool calls
    normalize*.py          repairs of responses that are nearly in OpenAI's shape
    tool_calls.py          tool calls in OpenAI's form; tool_call_shapes.py the forms that are read
    token_estimate.py      estimates for upstreams that send no token counts
    error_bodies.py        readers of the error responses of upstreams

Sources: OpenAI's API reference (chat completions, completions, responses, models, streaming, errors),
Anthropic's API reference (messages), and the responses that the Python and Node clients of both accept.
"""
