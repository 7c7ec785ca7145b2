"""The reader of recordings, since an error in the reader would hide differences."""

from __future__ import annotations

from tests.recordings import parse_response, read_request, read_response


def test_a_recorded_request_is_parsed() -> None:
    method, path, headers, body = read_request("autodev_chatglm_stream")
    assert (method, path) == ("POST", "/messages/stream")
    assert headers["accept"] == "text/event-stream"
    assert body.startswith(b'{"messages": [{"role": "user", "message": "I\'m Nihillum."}')


def test_chunks_of_a_recorded_response_are_joined() -> None:
    response = read_response("autodev_chatglm_1msg")
    assert response.status == 200
    assert response.complete
    assert response.body.count(b"data: ") == 7
    assert response.body.endswith(b'"}\r\n\r\ndata: [DONE]\r\n\r\n')


def test_a_truncated_response_is_not_complete() -> None:
    empty = read_response("autodev_proxy_empty")
    assert (empty.status, empty.body, empty.complete) == (200, b"", False)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\nc"
    assert parse_response(chunked) == (200, {"transfer-encoding": "chunked"}, b"abc", False)
    counted = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"
    assert not parse_response(counted).complete
    assert parse_response(counted + b"c").complete
