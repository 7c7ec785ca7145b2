"""The bridge: a reverse proxy that gives OpenAI's API to model servers, by rules in YAML.

    cli/            the commands, such as serve, check, explain and try
    server/         HTTP to clients: the OpenAI API, client keys, the admin port, reload, shutdown
    proxy/          one exchange over the network: retries, replicas, fallbacks, concurrency, callouts
    upstream/       HTTP and WebSocket to model servers; auth/ makes their credentials
    sessions/       sessions of model servers, kept for the next turn
    telemetry/      metrics and logs
    loader.py       reads the routes file; file_stamp.py, tasks.py, thread_pool.py: parts of the folders above

    ──── no I/O, no clock, no asyncio below this line ────

    exchange/       one request and its response; decode/ bytes → deltas
    routes/         the routes file: spec/ its keys, compile/ spec → rules, rules/ used by each request
    config/         YAML with locations           expressions/    paths, conditions, templates
    framing/        bytes → frames                openai/         the endpoints: bodies, encoders, errors
    prompts/        messages → one string         tool_formats/   tool calls in vendors' formats
    core/           deltas, frames, errors, JSON, headers

    presets/        routes for known servers, in YAML
    demo/           model servers for the first run

At load, the loader compiles the routes file to a table of routes. A request takes this path:

1. `server` parses and checks the request and finds its route.
2. `exchange` decides how many upstream calls the request takes, and builds their requests.
3. `proxy` sends the requests through `upstream`, callouts first, with retries and replicas.
4. `upstream` feeds each network read to `proxy`, and `proxy` to `exchange`, in one event loop callback.
5. `exchange` cuts the bytes into frames, reads the frames into deltas, and encodes the deltas.
6. `server` writes the encoded bytes to the client. `telemetry` records the request.

docs/architecture.md explains the parts and which of them may import which.
"""

__version__ = "0.1.0"
