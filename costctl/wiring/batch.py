"""Run a batch through the daemon at a control socket."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from costctl.adapters.clock import SystemClock
from costctl.adapters.engines.kinds import served_name
from costctl.batch.conduct import Conduct, End, How
from costctl.batch.jobs import read_jobs
from costctl.batch.lease import LeaseClient
from costctl.batch.pace import Limits
from costctl.batch.runner import Runner, Work
from costctl.batch.sender import Sender, open_session
from costctl.errors import CostctlError
from costctl.wiring import load_settings
from costctl.wiring.connections import allow_many_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from costctl.batch.checking import Checked
    from costctl.batch.defaults import Defaults
    from costctl.batch.journal import Journal
    from costctl.batch.lease import Told
    from costctl.batch.sources import Source
    from costctl.batch.tally import Tally
    from costctl.domain.batches import Wish

    Show = Callable[[Told, Tally], None]

_LAST_LINES_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be run."""

    source: Source
    defaults: Defaults
    checked: Checked
    wish: Wish
    in_order: bool
    shall_follow: Callable[[End], bool]
    """Whether what was wished for after the batch is to be done, as it has ended."""

    @property
    def work(self) -> Work:
        """The lines themselves."""
        return Work(
            jobs=lambda wanted: read_jobs(self.source, self.defaults, wanted=wanted),
            first_line=self.checked.first_line,
            has_repeats=self.checked.unique_requests < self.checked.total,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended and what it took; `spent` in micro-units of each currency, `last_words` are the daemon's.

    `follows` says whether the daemon was asked for what was wished for after the batch; `error` is what broke it off.
    """

    end: End
    error: CostctlError | None
    tally: Tally
    seconds: float
    spent: Mapping[str, int]
    follows: bool
    last_words: str


def run_batch(
    order: Order, journal: Journal, *, control_socket: Path, away_patience_s: float, tally: Tally, show: Show
) -> Outcome:
    """Run what is left of a batch, and give the results their final names if nothing is.

    Args:
        order: what is to be run.
        journal: where it was left; it is finished if nothing is left at the end.
        control_socket: the daemon's.
        away_patience_s: how long the daemon may be away before the run is given up.
        tally: what is counted.
        show: is called with what the daemon tells, every second or so.
    """
    allow_many_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(order, journal, control_socket, away_patience_s=away_patience_s, tally=tally, show=show))


def served_model(engine_args: Sequence[str]) -> str:
    """Return the name of the model that an engine started now would serve. Raises BadValueError."""
    settings = load_settings({"engine-args": tuple(engine_args)}).settings
    return served_name(settings.engine_args) or settings.model


async def _run(
    order: Order, journal: Journal, control_socket: Path, *, away_patience_s: float, tally: Tally, show: Show
) -> Outcome:
    clock = SystemClock()
    began_s = clock.monotonic()
    async with open_session(control_socket) as session:
        runner = Runner(
            work=order.work,
            book=journal,
            post=Sender(session),
            tally=tally,
            clock=clock,
            chance=random.Random(),  # noqa: S311 - for jitter
            limits=Limits(),
        )
        conduct = Conduct(
            open_lease=partial(LeaseClient, session),
            wish=order.wish,
            runner=runner,
            tally=tally,
            clock=clock,
            away_patience_s=away_patience_s,
            show=lambda told: show(told, tally),
        )
        follow = False
        try:
            end, error = await _to_its_end(conduct, order, journal)
            follow = order.shall_follow(end)
        finally:
            await conduct.close(complete=journal.is_finished, then=follow)
    return Outcome(
        end=end,
        error=error,
        tally=tally,
        seconds=clock.monotonic() - began_s,
        spent=conduct.spent,
        follows=follow,
        last_words=conduct.last_words,
    )


async def _to_its_end(conduct: Conduct, order: Order, journal: Journal) -> tuple[End, CostctlError | None]:
    try:
        with _on_signals(conduct.interrupt):
            end = await conduct.run(patience_s=_LAST_LINES_S)
            if end.how is How.THROUGH:
                await asyncio.to_thread(journal.finish, in_order=order.in_order)
    except CostctlError as error:
        return End(how=How.INTERRUPTED if conduct.is_interrupted else How.BROKEN, why=str(error)), error
    return end, None


@contextmanager
def _on_signals(interrupt: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup means it
    for number in heard:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
