"""`Retry-After` in its two forms (RFC 9110, 10.2.3), and OpenAI's `retry-after-ms`."""

from __future__ import annotations

import pytest

from bridge.core.retry_after import retry_after

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:47 GMT"}, 10),
        ({"retry-after": "Sun Nov  6 08:49:47 1994"}, 10),
        ({"retry-after": "Sun, 06 Nov 1994 08:00:00 GMT"}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "\u0661"}, None),
        ({"retry-after": "Sun, 99 Nov 1994 08:49:47 GMT"}, None),
    ],
)
def test_a_requested_delay_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
