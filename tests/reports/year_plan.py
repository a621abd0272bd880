"""A year of believable use, planned session by session: always the same one.

A team works in Berlin from July 2025 to June 2026. It serves a small model from a T4 on weekdays and runs a batch there
on Friday nights, tries a larger model on an A10G over the winter, and rents a machine in dollars in February and March.
Nothing happens on the first and the last day, so the year is whole in every zone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from costctl.domain.money import Price, parse_price
from costctl.domain.sessions import EndReason, Instance, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    Stretch = tuple[Phase, timedelta]

BERLIN = ZoneInfo("Europe/Berlin")
FIRST, LAST = date(2025, 7, 2), date(2026, 6, 29)
IDLE_WINDOW = timedelta(minutes=10)
HOLIDAYS = {date(2025, 10, 3), *(date(2025, 12, 24) + timedelta(days=n) for n in range(9)), date(2026, 5, 1)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A machine, what it costs, and how fast the model on it answers."""

    instance: Instance
    price: Price | None
    rule: str
    model: str
    arguments: tuple[str, ...]
    memory_gib: int
    tokens_per_s: int
    """Generated while it serves; a batch keeps the GPU fuller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A session as it is to be written; `key` is its power-on's, which a suspended machine shares with the next."""

    box: Box
    started_at: datetime
    stretches: tuple[Stretch, ...]
    end: EndReason = EndReason.IDLE
    batch: str | None = None
    key: str = ""


def _price(text: str, dated: date) -> Price:
    return parse_price(text, source="own price", dated=datetime.combine(dated, time(), UTC))


T4 = Box(
    instance=Instance(
        machine="t4-box",
        provider="reference-cn",
        instance_type="t4",
        region="cn",
        market="on-demand",
        gpu="Tesla T4",
        gpu_count=1,
    ),
    price=_price("1.8 CNY/h", date(2025, 7, 1)),
    rule="exact",
    model="Qwen/Qwen3-1.7B",
    arguments=("--dtype", "half", "--max-model-len", "8192"),
    memory_gib=14,
    tokens_per_s=110,
)
A10G = Box(
    instance=replace(T4.instance, machine="a10g-box", instance_type="a10g", gpu="NVIDIA A10G"),
    price=_price("3 CNY/h", date(2025, 11, 28)),
    rule="exact",
    model="Qwen/Qwen3-8B",
    arguments=("--max-model-len", "16384"),
    memory_gib=21,
    tokens_per_s=85,
)
DOLLARS = Box(
    instance=Instance(
        machine="rented",
        provider="lambda",
        instance_type="gpu_1x_a10",
        region="us-east-1",
        market="on-demand",
        gpu="NVIDIA A10",
        gpu_count=1,
    ),
    price=_price("0.75 USD/h", date(2026, 2, 1)),
    rule="lambda",
    model="Qwen/Qwen3-8B",
    arguments=("--max-model-len", "16384"),
    memory_gib=21,
    tokens_per_s=80,
)
LOANER = Box(
    instance=Instance(machine="loaner", gpu="NVIDIA L4", gpu_count=1),
    price=None,
    rule="exact",
    model="Qwen/Qwen3-4B",
    arguments=("--max-model-len", "8192"),
    memory_gib=20,
    tokens_per_s=70,
)


def planned_year(random: Random) -> list[Planned]:
    """Return the year's sessions in the order of their starts."""
    return sorted(_planned(random), key=lambda planned: planned.started_at)


def _planned(random: Random) -> Iterator[Planned]:
    for day in (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)):
        if day.weekday() < 5 and day not in HOLIDAYS:
            yield from _working_day(random, day)
        if day.weekday() == 4 and day not in HOLIDAYS:
            yield _night(random, day)
    yield from _oddities(random)


def _working_day(random: Random, day: date) -> Iterator[Planned]:
    yield _serving(random, T4, _at(day, 8 + random.random()), hours=random.uniform(0.6, 2.2))
    if random.random() < 0.25:
        yield _serving(random, T4, _at(day, 13.5 + random.random()), hours=random.uniform(0.4, 2))
    if date(2025, 12, 1) <= day <= date(2026, 1, 31) and random.random() < 0.4:
        yield _serving(random, A10G, _at(day, 10 + random.random()), hours=random.uniform(0.5, 2.5))
    if date(2026, 2, 9) <= day <= date(2026, 3, 20) and random.random() < 0.6:
        yield _serving(random, DOLLARS, _at(day, 15 + random.random()), hours=random.uniform(0.3, 1.5))


def _night(random: Random, day: date) -> Planned:
    """Plan a batch that begins late in the evening; many end on the next day."""
    work = timedelta(minutes=random.uniform(25, 110), microseconds=random.randrange(10**6))
    stretches = (*_start(random), (Phase.BUSY, work), (Phase.IDLE, IDLE_WINDOW), *_stop(random))
    started_at = _at(day, 22 + random.random())
    return Planned(box=T4, started_at=started_at, stretches=stretches, batch="weekly-summaries")


def _oddities(random: Random) -> Iterator[Planned]:
    """Yield what golden files have to show: edges of calendars, and what goes wrong in a year."""
    html, formula = replace(T4, model="<b>tiny</b>"), replace(T4, model="=SUM(1,2)")
    yield _long(random, T4, datetime(2025, 7, 31, 21, 30, tzinfo=BERLIN), hours=5)  # midnight and the end of a month
    yield _long(random, T4, datetime(2025, 10, 26, 0, 20, tzinfo=BERLIN), hours=4)  # summer time ends
    yield _long(random, T4, datetime(2025, 12, 31, 22, 15, tzinfo=BERLIN), hours=3, batch="year-end")
    yield _long(random, T4, datetime(2026, 3, 29, 0, 40, tzinfo=BERLIN), hours=3)  # summer time begins
    yield _serving(random, html, datetime(2026, 1, 10, 11, 0, tzinfo=BERLIN), hours=0.5)
    yield _serving(random, formula, datetime(2026, 1, 11, 16, 0, tzinfo=BERLIN), hours=0.4)
    yield _serving(random, LOANER, datetime(2026, 1, 17, 14, 0, tzinfo=BERLIN), hours=1.2)
    yield replace(_cut_off(random, datetime(2026, 1, 18, 9, 0, tzinfo=BERLIN)), end=EndReason.LOST)
    yield _restarted(random, datetime(2026, 1, 24, 10, 0, tzinfo=BERLIN))
    yield _restarted(random, datetime(2026, 4, 11, 10, 0, tzinfo=BERLIN))
    asleep = _cut_off(random, datetime(2025, 9, 20, 9, 0, tzinfo=BERLIN))
    yield replace(asleep, end=EndReason.SUSPENDED, key="slept")
    yield replace(_serving(random, T4, datetime(2025, 9, 20, 16, 0, tzinfo=BERLIN), hours=0.7), key="slept")


def _serving(random: Random, box: Box, started_at: datetime, *, hours: float) -> Planned:
    """Plan visits with pauses shorter than the idle window, and the tail of idleness that ended it."""
    visits: list[Stretch] = []
    left = timedelta(hours=hours)
    while left > timedelta(0):
        busy = timedelta(minutes=random.uniform(4, 35), microseconds=random.randrange(10**6))
        visits += [(Phase.BUSY, busy), (Phase.IDLE, IDLE_WINDOW * random.uniform(0.1, 0.95))]
        left -= busy
    visits[-1] = (Phase.IDLE, IDLE_WINDOW)
    end = EndReason.STOPPED if random.random() < 0.05 else EndReason.IDLE
    return Planned(box=box, started_at=started_at, stretches=(*_start(random), *visits, *_stop(random)), end=end)


def _long(random: Random, box: Box, started_at: datetime, *, hours: float, batch: str | None = None) -> Planned:
    work = (Phase.BUSY, timedelta(hours=hours, seconds=random.uniform(0, 600)))
    return Planned(
        box=box,
        started_at=started_at,
        stretches=(*_start(random), work, (Phase.IDLE, IDLE_WINDOW), *_stop(random)),
        batch=batch,
    )


def _cut_off(random: Random, started_at: datetime) -> Planned:
    stretches = (*_start(random), (Phase.BUSY, timedelta(minutes=37)), (Phase.IDLE, timedelta(minutes=4.5)))
    return Planned(box=T4, started_at=started_at, stretches=stretches)


def _restarted(random: Random, started_at: datetime) -> Planned:
    """Plan a session in which the daemon was down for a while."""
    away = (Phase.UNKNOWN, timedelta(minutes=random.uniform(5, 90)))
    _, starting = _start(random)
    work = (Phase.BUSY, timedelta(minutes=25)), (Phase.IDLE, IDLE_WINDOW)
    return Planned(
        box=T4, started_at=started_at, stretches=(*_start(random), work[0], away, starting, *work, *_stop(random))
    )


def _start(random: Random) -> tuple[Stretch, Stretch]:
    up = timedelta(seconds=random.uniform(15, 40))
    return (Phase.OFF, up), (Phase.STARTING, timedelta(seconds=random.uniform(55, 140)))


def _stop(random: Random) -> tuple[Stretch, Stretch]:
    stopping = timedelta(seconds=random.uniform(3, 12))
    return (Phase.STOPPING, stopping), (Phase.OFF, timedelta(seconds=random.uniform(2, 6)))


def _at(day: date, hour: float) -> datetime:
    return datetime.combine(day, time(), BERLIN) + timedelta(seconds=round(hour * 3600, 6))
