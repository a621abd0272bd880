import io
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from fakes.phases import columns
from rich.console import Console

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session
from costctl.reports.printing import console_for
from costctl.reports.session_list import print_sessions

START = datetime(2026, 1, 31, 20, tzinfo=UTC)
ZONE = ZoneInfo("America/Argentina/ComodRivadavia")


def widest_session():
    """The longest of everything that may happen."""
    return Session(
        id=1,
        instance=Instance(machine="box", gpu="NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation [bold]x", gpu_count=16),
        started_at=datetime(2026, 1, 1, 9, tzinfo=UTC),
        heartbeat_at=START,
        ended_at=START,
        end_reason=EndReason.SUSPENDED,
        price=Price(micros_per_hour=98_765_432, currency="USD", source="flag", dated=START),
        phase_columns=columns([PhaseSpan(Phase.BUSY, datetime(2026, 1, 1, 9, tzinfo=UTC), START)]),
    )


def terminal(width, **environ):
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        markup=False,
        highlight=False,
        _environ={"TERM": "xterm"} | environ,
    )


def lines(console):
    return re.sub(r"\x1b\[\d+m", "", console.file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_widest_session_fits(width):
    console = terminal(width, NO_COLOR="1")
    session = widest_session()
    print_sessions([session], console, ZONE)
    (line,) = (line for line in lines(console) if "16x" in line)
    assert line.startswith("2026-01-01 06:00  01-31 17:00  16x")
    assert line.split()[-5:] == ["98.765432", "USD/h", "72197.53", "USD", "suspended"]
    assert max(map(len, lines(console))) <= width


def test_colours_and_lines_only_on_a_terminal_and_no_colour_if_asked():
    session = widest_session()
    plain = console_for(io.StringIO())
    print_sessions([session], plain, ZONE)
    assert plain.file.getvalue().isascii()
    on_terminal = terminal(120)
    print_sessions([session], on_terminal, ZONE)
    assert "\x1b[1m" in on_terminal.file.getvalue()
    assert "─" in on_terminal.file.getvalue()


def test_a_console_is_never_too_wide(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    assert console_for(io.StringIO()).width == 120
    monkeypatch.delenv("FORCE_COLOR")
    assert console_for(io.StringIO()).width == 120


def test_foreign_names_are_printed_as_they_are():
    console = console_for(io.StringIO())
    console.width = 200
    print_sessions([widest_session()], console, ZONE)
    assert "16x RTX PRO 6000 Blackwell Max-Q Workstation [bold]x" in console.file.getvalue()
