"""The command try: what is sent, received, found and answered, with a real upstream."""

from __future__ import annotations

from tests.background_loop import in_background
from tests.cli.command import KEY, Result, Run, run
from tests.raw_upstream import http_response, responder, run_upstream

__all__ = ["run"]

ROUTE = """\
routes:
  - models: m
    upstream: URL/generate
    auth: {bearer: "${KEY}"}
    request: {body: {text: $.prompt, stream: $.stream}}
    response: $.text
    stream: {text: $.delta, done: {$.end: true}}
"""
STREAM = b'data: {"delta": "hel"}\n\ndata: {"delta": "lo", "end": true}\n\n'


def tried(run: Run, response: bytes, *arguments: str, routes: str = ROUTE) -> Result:
    """Return the output of `try` with an upstream that sends one response."""
    with in_background(run_upstream(responder(response))) as server:
        text = routes.replace("URL", server.url)
        return run("try", "routes.yaml", "--model", "m", *arguments, text=text)


def test_a_completion_is_shown_step_by_step(run: Run) -> None:
    result = tried(run, http_response({"text": f"hello {KEY}"}), "Say hello")
    assert result.code == 0, result.errors
    for shown in ("route    m (by `m`)", "/generate", "Authorization: Bearer ***", '"text": "Say hello"',
                  "receives 200 after ", "content-type: application/json", """'{"text": "hello ***"}'""",
                  'text               "hello ***"', '"content": "hello ***"', "answers  200"):  # fmt: skip
        assert shown in result.out or shown.replace("***", KEY) in result.out, (shown, result.out)
    assert f"Bearer {KEY}" not in result.out


def test_the_frames_of_a_stream_are_shown(run: Run) -> None:
    response = http_response(STREAM, content_type="text/event-stream")
    result = tried(run, response, "hi", "--stream")
    assert result.code == 0, result.errors
    for shown in ('frame 1   {"delta": "hel"}', '  text               "hel"', 'frame 2   {"delta": "lo"',
                  "answers  200, a stream", "data: [DONE]", "done               {$.end: true}"):  # fmt: skip
        assert shown in result.out, (shown, result.out)


def test_a_failure_is_shown_and_exits_with_1(run: Run) -> None:
    result = tried(run, http_response({"error": "no such thing"}, 404), "hi")
    assert result.code == 1
    assert "receives 404" in result.out
    assert "answers  404" in result.out
    assert "no such thing" in result.out


def test_a_response_without_text_names_the_paths_that_have_text(run: Run) -> None:
    result = tried(run, http_response({"texts": ["hello"]}), "hi")
    assert result.code == 1
    assert "text is at $.texts[0]" in result.out


def test_an_upstream_that_is_not_there_is_reported(run: Run) -> None:
    result = run("try", "routes.yaml", "--model", "m", "hi", text=ROUTE.replace("URL", "http://127.0.0.1:1"))
    assert result.code == 1
    assert "answers  502" in result.out
    assert "Traceback" not in result.out + result.errors


def test_an_unknown_model_is_refused(run: Run) -> None:
    result = run("try", "routes.yaml", "--model", "x", text=ROUTE.replace("URL", "http://127.0.0.1:1"))
    assert result.code == 1
    assert "refused with 404" in result.out


def test_other_endpoints_take_the_text_as_input(run: Run) -> None:
    routes = ROUTE.replace("response: $.text", "response: {embeddings: $.vector}").replace(
        "auth:", "serves: embeddings\n    auth:"
    )
    result = tried(run, http_response({"vector": [1, 2]}), "hi", "--endpoint", "embeddings", routes=routes)
    assert result.code == 0, result.out
    assert '"text": "hi"' in result.out
    assert '"embedding": [' in result.out
