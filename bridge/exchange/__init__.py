"""One request and its response as plain calls: bytes, ids and the time are arguments.

    exchange.py          Exchange: the upstream calls of a request, and bytes in, bytes out for each call
    request_context.py   the client's request on its route

The request:

    request_limits.py    limits of the lists of a request
    split_calls.py       how many upstream calls, and what each carries
    call_parts.py        the parts of a request, by endpoint
    request_builder.py   the requests of one upstream call
    request_document.py  `$` of the rules of requests; turns.py, tool_names.py its computed members
    left_out.py          parameters that a template leaves out of a request

The response, in `decode/`: a decoder turns bytes into deltas, by a reader that turns each frame into deltas;
encoders of `bridge/openai/` turn deltas into bytes:

    upstream bytes ─▶ framer ─▶ frames ─▶ reader ─▶ deltas ─▶ encoder ─▶ bytes for the client

    upstream_calls.py    the upstream calls of an exchange that takes several
    upstream_call.py     one upstream call, with its builder, its decoder and its callouts
    endpoints.py         the parts of an exchange that depend on the endpoint

Further calls of the same request (`session`, `calls`, `poll`, `cancel`):

    callouts.py          the callouts of one upstream call; commands.py what the caller with I/O has to do
    session_steps.py     its session, found again by conversation_key.py
    callout_steps.py     a single callout, repeated until its condition holds; callout_request.py its request

    dry_run.py           a whole exchange without an upstream
"""
