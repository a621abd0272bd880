"""Sessions as a table for people: 80 to 120 columns, plain ASCII unless on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.domain.money import MICRO, format_amount
from costctl.reports.names import gpu_name
from costctl.reports.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.domain.money import Price
    from costctl.domain.sessions import Session

_GPU = "<GPU"


def print_sessions(sessions: Sequence[Session], console: Console, zone: ZoneInfo) -> None:
    """Print sessions, oldest first."""
    if not sessions:
        console.print("no sessions")
        return
    rows = [
        [
            f"{session.started_at.astimezone(zone):%Y-%m-%d %H:%M}",
            _end_of(session, zone),
            gpu_name(session.instance),
            _unit_price(session.price),
            _money(session.cost(), session.price, _decimals([session.cost() or 0])),
            session.end_reason or "open",
        ]
        for session in sessions
    ]
    print_table(console, ["started", "ended", _GPU, ">price", ">cost", "end"], rows)
    console.print(f"times in {zone}")


def _end_of(session: Session, zone: ZoneInfo) -> str:
    if session.ended_at is None:
        return ""
    begin, end = session.started_at.astimezone(zone), session.ended_at.astimezone(zone)
    return f"{end:%H:%M}" if begin.date() == end.date() else f"{end:%m-%d %H:%M}"


def _unit_price(price: Price | None) -> str:
    return str(price) if price else "unknown"


def _money(micros: int | None, price: Price | None, decimals: int) -> str:
    if micros is None or price is None:
        return "unknown"
    return f"{format_amount(micros, decimals=decimals)} {price.currency}"


def _decimals(amounts: Iterable[int]) -> int:
    """Small sums need more decimals to say anything."""
    return 2 if max(amounts, default=0) >= MICRO else 4
