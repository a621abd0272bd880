"""How a batch goes, while it goes: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from costctl.batch.meter import Meter
from costctl.domain.durations import format_duration
from costctl.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costctl.batch.journal import Journal
    from costctl.batch.lease import Told
    from costctl.batch.meter import Rate
    from costctl.batch.tally import Tally

    Show = Callable[[Told, Tally], None]

_PLAIN_EVERY_S = 10.0
_NEVER = float("-inf")


@contextmanager
def showing(tally: Tally, journal: Journal, total: int) -> Iterator[Show]:
    """Yield what to call with what the daemon tells."""
    meter = Meter(tally, time.monotonic)
    if sys.stderr.isatty():
        with _bar(total) as advance:
            yield lambda told, _: advance(journal.done_count, _words(told, meter.read(), journal, total))
        return
    plain = _Plain()
    yield lambda told, _: plain.say(told.state + told.engine, _line(told, meter.read(), journal, total))


class _Plain:
    """Lines on standard error, seldom, but at once when something changes."""

    def __init__(self) -> None:
        self._state = ""
        self._said_at = _NEVER

    def say(self, state: str, text: str) -> None:
        if state == self._state and time.monotonic() - self._said_at < _PLAIN_EVERY_S:
            return
        self._state, self._said_at = state, time.monotonic()
        click.echo(text, err=True)


def _line(told: Told, rate: Rate, journal: Journal, total: int) -> str:
    return f"{journal.done_count:,} of {total:,} lines; {_words(told, rate, journal, total)}"


def _words(told: Told, rate: Rate, journal: Journal, total: int) -> str:
    """Return all but the count of lines."""
    match told.state:
        case "queued":
            return f"queued at place {told.place}"
        case "cancelled":
            return f"cancelled: {told.reason}"
        case "stopping":
            return "stopping: lines that are with the engine have a few seconds, Ctrl-C again leaves them"
        case _:
            return ", ".join(_parts(told, rate, journal, total))


def _parts(told: Told, rate: Rate, journal: Journal, total: int) -> list[str]:
    parts = [] if told.engine == "ready" else [f"the engine is {told.engine}"]
    if journal.failed_count:
        parts.append(f"{journal.failed_count:,} failed")
    if rate.tokens:
        parts.append(f"{rate.tokens:,.0f} tokens/s")
    if told.gpu_percent is not None:
        parts.append(f"GPU {told.gpu_percent} %")
    if told.kv_cache_percent is not None:
        parts.append(f"KV cache {told.kv_cache_percent} %")
    eta_s = rate.eta_s(total - journal.done_count)
    if eta_s is not None:
        parts.append(f"{format_duration(eta_s)} left")
    if told.cost_micros is not None:
        parts.append(f"{format_amount(told.cost_micros, decimals=4)} {told.currency}")
    return parts


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: tuple[Any, ...] = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, words: progress.update(task, completed=done, description=words)
