"""The end of an exchange: its record and the client's response.

Every way out of an exchange passes through `finish` or `fail`, so that each request is recorded once and each
response that has begun ends as its status promised, or visibly broken.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from bridge.core.errors import BridgeError
from bridge.proxy.client_response import ResponseWriter
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from bridge.exchange.exchange import Exchange
    from bridge.telemetry.request_log import RequestRecord

__all__ = ["fail", "finish", "log_internal_error", "shut_down"]

R = TypeVar("R", bound=ResponseWriter)


def finish(exchange: Exchange, response: R, record: RequestRecord) -> R:
    """End the response of an exchange that is over, whether it succeeded or failed."""
    if exchange.is_stream and response.status:
        response.write_eof()
    elif exchange.error is not None:
        response.set_error(exchange.error)
    record.finish(exchange.error, response.status)
    return response


def fail(error: BaseException, response: R, record: RequestRecord) -> R:
    """End the response of an exchange that an exception interrupted.

    Raise the exception where no response can follow: the client has disconnected, or has received a part of a
    stream that only a broken connection can mark as incomplete.
    """
    match error:
        case BridgeError():
            exchange = record.exchange
            data = exchange.abort(error) if exchange is not None else b""
            record.finish(error, response.status or error.status)
            return response.write_eof(data) if response.started else response.set_error(error)
        case asyncio.CancelledError() | ConnectionResetError():
            record.client_disconnected()
            raise error
        case Exception():
            internal = log_internal_error(error)
            record.finish(internal, internal.status)
            if response.started:
                raise ConnectionAbortedError from error
            return response.set_error(internal)
        case _:  # KeyboardInterrupt and SystemExit end the process
            raise error


def shut_down(response: R, record: RequestRecord) -> R:
    """End the response of an exchange that the shutdown of the bridge interrupted."""
    error = BridgeError(503, "the bridge is shutting down", code="shutting_down")
    exchange = record.exchange
    data = exchange.abort(error) if exchange else b""
    record.finish(error, response.status or error.status)
    if not response.status or exchange is None:
        return response.set_error(error)
    return response.write_eof(data)


def log_internal_error(error: Exception) -> BridgeError:
    """Log a fault of the bridge itself. Return the error for the client, which holds no details."""
    log("internal error", logging.ERROR, error=f"{type(error).__name__}: {error}"[:500])
    return BridgeError(500, "the bridge failed to carry this request out", code="internal_error")
