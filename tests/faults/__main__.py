"""The tables in docs/promises.md: the outcomes of the official client through each proxy (`make faults`)."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.faults.faults import FAULTS, WRONG_HEADS, act_wrong_head
from tests.faults.outcome import observe
from tests.faults.proxies import KEY, PROXIES, ROOT
from tests.faults.responses import RESPONSES
from tests.raw_upstream import run_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raw_upstream import Connection, Handler

PAGE = ROOT / "docs" / "promises.md"
BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->\n"

Row = tuple[str, str, list[str]]  # the fault, its stage, and the outcome through each proxy


class Upstream:
    """An upstream whose behaviour changes from request to request."""

    def __init__(self) -> None:
        self.behave: Handler = self.wait

    async def wait(self, peer: Connection) -> None:
        """Wait for the end of a connection."""
        await peer.wait_closed()

    async def __call__(self, peer: Connection) -> None:
        """Read a request, and behave. A proxy without the fault's request, as in a check of health, waits."""
        if await peer.request() is not None:
            await self.behave(peer)


def cases(*, stream: bool) -> Iterator[tuple[str, str, Handler]]:
    """Yield each fault with its stage and the handler of a connection.

    Endless responses come last: a proxy without limits is still busy with them while the next request waits.
    """
    response = RESPONSES["openai", stream]
    for wrong in WRONG_HEADS:
        yield wrong.name, "", partial(act_wrong_head, fault=wrong, response=response)
    for fault in FAULTS:
        for stage in filter(fault.possible, response.stages):
            yield fault.name, stage, partial(fault.run, response=response, stage=stage)


async def rows(urls: list[str], upstream: Upstream, *, stream: bool) -> list[Row]:
    """Return a row for each fault and stage."""
    table = []
    for name, stage, behave in cases(stream=stream):
        outcomes = []
        for url in urls:
            upstream.behave = behave
            outcomes.append(await observe(url, "openai", stream=stream, key=KEY))
        sys.stderr.write(f"{name}, {stage}: {outcomes}\n")
        table.append((name, stage, outcomes))
    return table


def markdown(table: list[Row]) -> Iterator[str]:
    """Return the lines of a table. Stages of one fault with equal outcomes share a line."""
    yield "| fault | stage | " + " | ".join(proxy.name for proxy in PROXIES) + " |\n"
    yield "| --- | --- |" + " --- |" * len(PROXIES) + "\n"
    for (name, outcomes), group in groupby(table, key=lambda row: (row[0], row[2])):
        stages = ", ".join(stage for _, stage, _ in group)
        yield f"| {name} | {stages} | {' | '.join(outcomes)} |\n"


async def measure() -> str:
    """Return both tables as text."""
    return "".join(
        [
            "\n### Streams\n\n", *markdown(await through_all(stream=True)),
            "\n### Whole responses\n\n", *markdown(await through_all(stream=False)), "\n",
        ]
    )  # fmt: skip


async def through_all(*, stream: bool) -> list[Row]:
    """Return a row for each fault and stage, through new processes of all proxies."""
    upstream = Upstream()
    async with run_upstream(upstream) as server:
        port = int(server.url.rpartition(":")[2])
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            started = [proxy.running(port, folder / proxy.name) for proxy in PROXIES]
            urls = [await asyncio.to_thread(stack.enter_context, proxy) for proxy in started]
            return await rows(urls, upstream, stream=stream)


def main() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + asyncio.run(measure()) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
