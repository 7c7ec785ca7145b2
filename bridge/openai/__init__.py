"""The clients' side: the checks of requests, the encoders of responses and errors, one module per endpoint.

    endpoint_spec.py   the description of an endpoint
    endpoints.py       the registry: chat, completions, embeddings, images, rerank, responses, messages
    encoders.py        deltas to chunks, or to one completion
    normalize*.py      repairs of responses that are nearly in OpenAI's shape
    responses*.py      the Responses API: requests to chat requests, deltas to output items and events
    messages*.py       Anthropic's Messages API: the same with blocks

Sources: OpenAI's API reference (chat completions, completions, models, streaming, errors), and the responses
that OpenAI's Python and Node clients accept.
"""
