"""Schedules: commands that run at their times; when each is due, and what becomes of a time that has passed.

A local time that the clocks skip is due where they skip it, at the first minute that exists; one that they repeat is
due once, the first time. What is due several times at that same minute runs once. `--every` counts real time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

from costctl.domain.cron import Cron, parse_cron
from costctl.domain.durations import format_duration, parse_duration
from costctl.domain.local_times import instant_at
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

ALIVE_EVERY_S = 30.0
"""Who runs a command says so often in the ledger that it goes on."""
_DEAD_AFTER_S = 3 * ALIVE_EVERY_S
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHORTEST_INTERVAL_S = 60
_UNKNOWN_START_S = 300.0
_START_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Every:
    """Due again and again after so many seconds of real time, from when the schedule was added or resumed."""

    seconds: int

    def __post_init__(self) -> None:
        if self.seconds < _SHORTEST_INTERVAL_S or self.seconds % 60:
            raise BadValueError(f"every {format_duration(self.seconds)} is not possible: whole minutes, at least 1m")

    def __str__(self) -> str:
        return f"every {format_exactly(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Once:
    """Due once, at a time of the local clock (naive)."""

    wall: datetime

    def __str__(self) -> str:
        return f"at {self.wall:%Y-%m-%dT%H:%M:%S}".removesuffix(":00")


Rule = Cron | Every | Once


class RunOutcome(StrEnum):
    """What became of a due time."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MISSED = "missed"
    SKIPPED = "skipped"
    LOST = "lost"


def outcome_of(exit_code: int | None) -> RunOutcome:
    """Return what became of a run that nobody waited for: lost if it left no exit code."""
    if exit_code is None:
        return RunOutcome.LOST
    return RunOutcome.FAILED if exit_code else RunOutcome.SUCCEEDED


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A command of costctl (its arguments), and when it runs.

    Due times count from `since` on, and are of no use `grace_s` after they passed. A run is ended after `limit_s`: one
    that hangs must not keep a machine billed for ever.
    """

    name: str
    rule: Rule
    zone: ZoneInfo
    command: tuple[str, ...]
    folder: str
    since: datetime
    grace_s: float = 3600.0
    limit_s: float = 86_400.0
    notify: tuple[str, ...] = ()
    paused: bool = False
    id: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadValueError(
                f"{self.name!r} is not a name for a schedule: letters, digits, '-', '_' and '.', at most 64"
            )
        if not self.command:
            raise BadValueError(f"the schedule {self.name!r} has no command")

    @property
    def keeps_machine_up(self) -> bool:
        """Whether its runs do so as such; a batch does it itself, as long as it gets ahead and until it is done."""
        return self.command[0] != "batch"

    def next_due(self, after: datetime) -> datetime | None:
        """Return the first due time after `after` in UTC, None if there is none; a pause does not matter here."""
        after = max(after, self.since)
        match self.rule:
            case Every(seconds=seconds):
                passed = (after - self.since) // timedelta(seconds=seconds)
                return self.since + (passed + 1) * timedelta(seconds=seconds)
            case Once(wall=wall):
                at = instant_at(wall, self.zone)
                return at if at > after else None
            case Cron() as cron:
                return _next_by_clock(cron, self.zone, after)

    def arguments_at(self, due_at: datetime) -> tuple[str, ...]:
        """Return its arguments with `{date}`, `{time}` and `{name}` filled in for a due time; other braces stay."""
        wall = due_at.astimezone(self.zone)
        values = {"{date}": f"{wall:%Y-%m-%d}", "{time}": f"{wall:%H%M}", "{name}": self.name}
        return tuple(
            re.sub(r"\{(?:date|time|name)\}", lambda match: values[match[0]], argument) for argument in self.command
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """When a schedule is due next."""

    schedule: Schedule
    at: datetime


def parse_rule(text: str) -> Rule:
    """Return the rule in `cron 0 2 * * *`, `every 6h` or `at 2026-12-01T02:00`.

    Raises:
        BadValueError: it is none of them, or cannot be.
    """
    kind, _, value = text.partition(" ")
    if kind == "cron":
        return parse_cron(value)
    if kind == "every":
        return Every(_whole_seconds(value))
    if kind == "at":
        return Once(_wall_time(value))
    raise BadValueError(f"{text!r} does not say when: begin with cron, every or at")


def _whole_seconds(text: str) -> int:
    seconds = parse_duration(text)
    if seconds != int(seconds):
        raise BadValueError(f"every {text} is not possible: whole minutes, at least 1m")
    return int(seconds)


def _wall_time(text: str) -> datetime:
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        raise BadValueError(f"{text!r} is not a time: write it like 2026-12-01T02:00") from None
    if wall.tzinfo is not None:
        raise BadValueError(f"{text!r} has an offset: write the local time, and --tz for its zone")
    return wall.replace(microsecond=0)


def format_exactly(seconds: int) -> str:
    """Return whole minutes in the form that `parse_duration` reads, with nothing rounded away."""
    minutes = seconds // 60
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _next_by_clock(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime | None:
    wall = cron.next_wall(after.astimezone(zone).replace(tzinfo=None, fold=0))
    while wall is not None:
        instant = instant_at(wall, zone)
        if instant > after:
            return instant
        wall = cron.next_wall(wall)
    return None


def no_schedule(name: str) -> str:
    """Return what is said where there is no schedule of that name."""
    return f"this machine has no schedule {name!r}: `costctl schedule list` shows all"


def too_late(schedule: Schedule, due_at: datetime, now: datetime) -> bool:
    """Return whether a due time passed so long ago that running it now is of no use."""
    return (now - due_at).total_seconds() > schedule.grace_s


def handled_until(schedule: Schedule, last_due: datetime | None, now: datetime) -> datetime:
    """Return the instant after which due times are still to be looked at.

    A last one that lies in the future comes from a clock that was wrong, and would silence the schedule until then.
    """
    return min(max(schedule.since, last_due or schedule.since), now)


def seems_dead(alive_at: datetime | None, now: datetime) -> bool:
    """Return whether nobody runs a command any more, of which it was said last then that it goes on.

    A time that lies in the future comes from a clock that was wrong, and says nothing.
    """
    return alive_at is None or abs((now - alive_at).total_seconds()) > _DEAD_AFTER_S


def last_passed(schedule: Schedule, after: datetime, now: datetime) -> datetime | None:
    """Return the last due time in (after, now], None if there is none.

    It is searched for backwards, since a machine may come up after a year in which it was due every minute.
    """
    back = timedelta(minutes=1)
    while True:
        start = max(after, now - back)
        found, at = None, schedule.next_due(start)
        while at is not None and at <= now:
            found, at = at, schedule.next_due(at)
        if found is not None or start == after:
            return found
        back *= 2


def alarm_after(schedule: Schedule, after: datetime, now: datetime) -> Alarm | None:
    """Return the last due time after an instant that has passed, else the next; None if there is none, or it rests."""
    at = None if schedule.paused else last_passed(schedule, after, now) or schedule.next_due(after)
    return None if at is None else Alarm(schedule=schedule, at=at)


def cold_start_s(earlier_starts_s: Sequence[float]) -> float:
    """Return how long before a due time an instance is better kept up: a usual start, half of that again, a minute."""
    return 1.5 * median(earlier_starts_s) + _START_MARGIN_S if earlier_starts_s else _UNKNOWN_START_S
