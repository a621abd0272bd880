"""The colours of charts: a light one, which stands in the chart, and the dark one that the page puts in its place.

The phases can be told apart with every kind of colour blindness and differ by 3:1 or more from the page, in both
modes; `tests/reports/test_charts.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from costctl.domain.sessions import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Tone:
    """One colour, as #rrggbb on a light and on a dark page. No two tones share a light one."""

    light: str
    dark: str


PAGE = Tone("#ffffff", "#14171a")
INK = Tone("#20262d", "#e3e7eb")
MUTED = Tone("#5a636d", "#a3acb6")
GRID = Tone("#dfe3e8", "#31383f")
PANEL = Tone("#f4f6f8", "#1d2227")

PHASES: Mapping[Phase, Tone] = MappingProxyType(
    {
        Phase.BUSY: Tone("#3f86d9", "#3b86d6"),
        Phase.STARTING: Tone("#a8320f", "#f5895c"),
        Phase.IDLE: Tone("#c08608", "#e6c229"),
        Phase.ASLEEP: Tone("#6a1fb0", "#8fcbf0"),
        Phase.OFF: Tone("#8f959b", "#8f979e"),
        Phase.STOPPING: Tone("#5a1030", "#c92f63"),
        Phase.UNKNOWN: Tone("#3d4a5c", "#e6e9ec"),
    }
)
"""In the order in which they are stacked."""

SHADES = (
    Tone("#eef1f4", "#20262c"),
    Tone("#c9ddf3", "#1d3b5c"),
    Tone("#93bbe8", "#245a8f"),
    Tone("#5b95d8", "#3a82c4"),
    Tone("#2b6bb5", "#74b0e8"),
    Tone("#123f75", "#c4e0fb"),
)
"""From none to all."""

AS_RUN = Tone("#2f6fb3", "#5d9fe0")
ALWAYS_ON = Tone("#878e96", "#878f97")

TONES = (PAGE, INK, MUTED, GRID, *PHASES.values(), *SHADES, AS_RUN, ALWAYS_ON)
