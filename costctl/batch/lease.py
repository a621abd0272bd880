"""The client's end of a lease: one connection on which progress goes out and the daemon's state comes in."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from costctl.batch.sender import BASE, AwayError
from costctl.errors import DaemonError, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from costctl.domain.batches import Progress, Wish

_REFUSED, _AWAY = 409, 503


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the daemon tells about a batch: `state` is queued, running, cancelled or ended.

    A run that was asked to stop says `stopping` to itself.
    """

    state: str
    number: int = 0
    place: int = 0
    reason: str = ""
    engine: str = ""
    failures: int = 0
    failed_starts: int = 0
    failure: str | None = None
    log: tuple[str, ...] = ()
    """The last lines of an engine that failed."""
    running: int | None = None
    waiting: int | None = None
    kv_cache_percent: int | None = None
    gpu_percent: int | None = None
    cost_micros: int | None = None
    currency: str | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Return what a line of the daemon says."""
        counters = told.get("counters") or {}
        return cls(
            state=told["state"],
            number=told.get("id", 0),
            place=told.get("place", 0),
            reason=told.get("reason") or told.get("then") or "",
            engine=told.get("engine", ""),
            failures=told.get("failures", 0),
            failed_starts=told.get("failed_starts", 0),
            failure=told.get("failure"),
            log=tuple(told.get("log") or ()),
            running=counters.get("running"),
            waiting=counters.get("waiting"),
            kv_cache_percent=counters.get("kv_cache_percent"),
            gpu_percent=told.get("gpu_percent"),
            cost_micros=told.get("cost_micros"),
            currency=told.get("currency"),
        )


class LeaseClient:
    """Holds one lease, from `open` until `close` or the daemon's end."""

    def __init__(self, session: aiohttp.ClientSession, wish: Wish) -> None:
        self._session = session
        self._wish = wish
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def told(self) -> AsyncIterator[Told]:
        """Ask for the lease and yield what the daemon tells, until it or the lease ends.

        Raises:
            AwayError: there is no daemon, it is ending, or it went away.
            RefusedError: this daemon does not do what is wished for.
            DaemonError: it does not know batches.
        """
        try:
            async with self._session.post(f"{BASE}/batches", data=self._said()) as answer:
                await _demand_lease(answer)
                async for line in answer.content:
                    yield Told.read(json.loads(line))
        except aiohttp.ClientConnectorError as error:
            raise AwayError(f"nobody listens at its control socket: {error.strerror}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise AwayError(str(error) or type(error).__name__) from error

    def report(self, progress: Progress) -> None:
        """Tell the daemon how far the batch is."""
        self._say(_progress(progress))

    def through(self, progress: Progress, *, complete: bool, then: bool) -> None:
        """Tell the daemon that this is all, whether all lines are done, and whether to do what was wished for then."""
        self._say({**_progress(progress), "through": True, "complete": complete, "then": then})
        self.close()

    def close(self) -> None:
        """Let go of the lease."""
        self._lines.put_nowait(None)

    async def _said(self) -> AsyncIterator[bytes]:
        yield _line(
            {
                "name": self._wish.name,
                "lines": self._wish.lines,
                "shares": self._wish.shares,
                "then": self._wish.then.value,
                "no_progress_s": self._wish.no_progress_s,
                "timeout_s": self._wish.timeout_s,
                "schedule_run": self._wish.schedule_run,
            }
        )
        while (line := await self._lines.get()) is not None:
            yield line

    def _say(self, said: dict[str, Any]) -> None:
        self._lines.put_nowait(_line(said))


async def _demand_lease(answer: aiohttp.ClientResponse) -> None:
    if answer.ok:
        return
    message = f"it answered {answer.status}"
    with suppress(ValueError, KeyError, TypeError):
        message = (await answer.json())["error"]["message"]
    if answer.status == _AWAY:
        raise AwayError(message)
    raise (RefusedError if answer.status == _REFUSED else DaemonError)(message)


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "requests": progress.requests,
        "failed": progress.failed,
        "prompt_tokens": progress.prompt_tokens,
        "generation_tokens": progress.generation_tokens,
    }


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"
