"""A document with every kind of block, and with names that would do harm in one format or another."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from costctl.reports.charts.frame import framed
from costctl.reports.outline import (
    Amount,
    Chart,
    Column,
    Count,
    Document,
    Figure,
    Figures,
    Length,
    Moment,
    Notes,
    Prose,
    Section,
    Share,
    Table,
)

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 1, 31, 16, 30, 15, tzinfo=UTC)
FOREIGN_NAMES = (
    "<b>x</b>",
    "<script>alert(1)</script>",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "a|b",
    "`rm -rf ~`",
    "__init__ *x* ~~y~~ \\|",
    "[click](javascript:alert(1))",
    "https://example.org/?a=b&c",
    "![x](http://example.org/p.png)",
    "&lt;b&gt; & 1 < 2",
    "# 1. - item",
    "line\nbreak\r\n\x1b[31mred",
    "显卡 四号",
    "0123",
)
PHASES = Table(
    key="phases",
    title="By phase",
    columns=(
        Column(heading="phase"),
        Column(heading="minutes", numeric=True, adds_up=True),
        Column(heading="share", numeric=True, adds_up=True),
        Column(heading="cost", numeric=True, adds_up=True),
        Column(heading="in USD", numeric=True, adds_up=True, names_unit=True),
    ),
    rows=tuple(
        (name, Length(timedelta(seconds=100), "minutes"), Share(Fraction(1, 3)), amount, dollars)
        for name, amount, dollars in (
            ("busy", Amount(micros=1_333_333, currency="CNY"), Amount(micros=3_333, currency="USD")),
            ("空闲", Amount(micros=1_333_333, currency="CNY"), Amount(micros=3_333, currency="USD")),
            ("off", Amount(micros=1_333_334, currency="CNY"), None),
        )
    ),
    footer=(
        "all",
        Length(timedelta(seconds=300), "minutes"),
        Share(Fraction(1)),
        Amount(micros=4_000_000, currency="CNY"),
        Amount(micros=6_666, currency="USD"),
    ),
)
NAMES = Table(
    key="names",
    columns=(
        Column(heading="model", shrinks=True),
        Column(heading="requests", numeric=True),
        Column(heading="since"),
        Column(heading="open for"),
        Column(heading="price", numeric=True),
    ),
    rows=tuple(
        (
            name,
            Count(1234 * number),
            Moment(START + timedelta(hours=number)),
            Length(timedelta(minutes=90 * number)),
            Amount(micros=1_980_000 + number, currency="USD", per="h"),
        )
        for number, name in enumerate(FOREIGN_NAMES)
    ),
)
EMPTY = Table(key="empty", title="Nothing", columns=(Column(heading="model"),), rows=())


def sample_document():
    return Document(
        title="January 2026 <i>",
        subtitle="2026-01-01 to 2026-01-31, times in Asia/Shanghai",
        zone=ZONE,
        sections=(
            Section(
                key="headline",
                title="In short",
                blocks=(
                    Figures(
                        (
                            Figure(label="cost", value=Amount(micros=4_000_000, currency="CNY"), note="at 1.98 CNY/h"),
                            Figure(label="空闲 share", value=Share(Fraction(2, 3))),
                            Figure(label="length", value=Length(timedelta(minutes=90), "minutes")),
                            Figure(label="requests", value=Count(12345)),
                            Figure(label="price", value=None, note="say what an hour costs"),
                            Figure(label="newest", value=Moment(START, "second")),
                        )
                    ),
                    Prose("Two thirds of the bill were idle time: *not* one request <came>."),
                ),
            ),
            Section(
                key="phases",
                title="What a session was: 1/2 [phases]?",
                blocks=(
                    PHASES,
                    Chart(
                        key="by-day",
                        title="Cost by day",
                        alt="The cost was highest on 31 January.",
                        spec=framed(100, {"mark": "bar", "data": {"values": [{"x": 1}]}}),
                    ),
                    Notes(("One note.", "Another, of <b>x</b>.")),
                ),
            ),
            Section(key="names", title="按模型统计的费用", blocks=(NAMES, EMPTY)),
        ),
    )
