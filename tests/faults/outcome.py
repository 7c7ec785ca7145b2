"""The outcome of a request for the official client, in the words of the table."""

from __future__ import annotations

import asyncio

import openai

from tests.faults.responses import TEXT

__all__ = ["COMPLETE", "HANG", "REPLACED", "observe"]

COMPLETE = "complete"
REPLACED = "complete, with U+FFFD"
HANG = "hangs"

_HANG_TIMEOUT = 5.0  # seconds, many times the timeouts of the proxies
_FINISHED = {"stop"}


async def observe(url: str, model: str, *, stream: bool, key: str = "none") -> str:
    """Send a chat request by the official client without its retries, and return the outcome."""
    # Certificates are not needed here, and loading them costs more than a request.
    http_client = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http_client
    ) as client:
        try:
            async with asyncio.timeout(_HANG_TIMEOUT):
                return await (_streamed if stream else _plain)(client, model)
        except TimeoutError:
            return HANG
        except openai.APIStatusError as error:
            code = error.code if error.code != str(error.status_code) else None  # LiteLLM repeats the status
            return f"{error.status_code} {code or ''}".strip()
        except openai.APIConnectionError:
            return "connection error"
        except openai.APIError as error:
            return f"error {error.code or ''}".strip()
        except (ValueError, AttributeError, TypeError) as error:
            return f"the client fails: {type(error).__name__}"


async def _plain(client: openai.AsyncOpenAI, model: str) -> str:
    completion = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hi"}]
    )
    choice = completion.choices[0]
    return _success(choice.message.content or "", choice.finish_reason)


async def _streamed(client: openai.AsyncOpenAI, model: str) -> str:
    text, finish = "", None
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    try:
        async for part in stream:
            for choice in part.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    except (openai.APIError, TimeoutError):
        raise
    except Exception as error:  # of the HTTP client or of its JSON parser
        return f"breaks: {type(error).__name__}"
    return _success(text, finish)


def _success(text: str, finish: str | None) -> str:
    if text == TEXT and finish in _FINISHED:
        return COMPLETE
    if text.replace("\ufffd\ufffd", "sk") == TEXT and finish in _FINISHED:
        return REPLACED
    return f"a success of {len(text)} of {len(TEXT)} characters, finish {finish}"
