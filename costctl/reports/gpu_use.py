"""How hard the GPUs worked."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from costctl.reports.outline import Column, Length, Prose, Section, Table

if TYPE_CHECKING:
    from costctl.reports.figures import Report
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording


def gpu_section(report: Report, words: Wording) -> Section | None:
    """Return how hard the GPUs worked while they were looked at; None if they never were."""
    if not report.gpu_use:
        return None
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            use.gpu,
            Length(timedelta(minutes=use.minutes), "hours"),
            "-" if use.mean_utilisation_percent is None else f"{use.mean_utilisation_percent} %",
            f"{use.peak_memory_bytes / 2**30:.1f} GiB",
            "-" if use.mean_milliwatts is None else f"{use.mean_milliwatts / 1000:.0f} W",
        )
        for use in report.gpu_use
    )
    columns = (
        Column(heading=words.say("GPU"), shrinks=True),
        Column(heading=words.say("hours"), numeric=True),
        Column(heading=words.say("mean use"), numeric=True),
        Column(heading=words.say("most memory"), numeric=True),
        Column(heading=words.say("mean power"), numeric=True),
    )
    seen = words.say("Over the minutes in which an engine was up; the driver's own figures.")
    table = Table(key="gpus", columns=columns, rows=rows)
    return Section(key="gpus", title=words.say("GPU use"), blocks=(table, Prose(seen)))
