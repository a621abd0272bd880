"""A month as its report would show it: round numbers, made up."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from costctl.domain.sessions import Phase
from costctl.reports.charts.comparison import GpuCost, comparison_chart
from costctl.reports.charts.daily_cost import DayCost, daily_cost_chart
from costctl.reports.charts.use import WeekUse, use_chart
from costctl.reports.names import phase_names
from costctl.reports.outline import (
    Amount,
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
from costctl.reports.wording import Wording

ZONE = ZoneInfo("Asia/Shanghai")
CHINESE = Wording.of("zh")
FIRST_DAY = date(2026, 1, 1)
GPUS = (
    GpuCost(name="T4", as_run_micros=86_400_000, always_on_micros=1_339_200_000, is_estimated=False),
    GpuCost(name="L4", as_run_micros=97_500_000, always_on_micros=1_860_000_000, is_estimated=True),
    GpuCost(name="A10G", as_run_micros=104_100_000, always_on_micros=2_232_000_000, is_estimated=True),
)
_MINUTES = {Phase.STARTING: 9, Phase.IDLE: 25, Phase.ASLEEP: 4, Phase.OFF: 2, Phase.STOPPING: 1}
_HOUR = 1_800_000


def days(count=31):
    return [DayCost(day=FIRST_DAY + timedelta(number), phase_micros=_phases(number)) for number in range(count)]


def _phases(number):
    day = FIRST_DAY + timedelta(number)
    if day.weekday() == 6:
        return {}
    factor = 1 if day.weekday() < 5 else Fraction(1, 3)
    minutes = {Phase.BUSY: 90 + 13 * (number * 7 % 11), **_MINUTES, Phase.UNKNOWN: 50 * (number == 20)}
    return {phase: int(factor * _HOUR * length / 60) for phase, length in minutes.items()}


def week_use():
    return WeekUse(busy=tuple(tuple(_busy(day, hour) for hour in range(24)) for day in range(7)))


def _busy(day, hour):
    if day == 6 or hour < 7 or hour > 21:
        return Fraction(0)
    peak = 88 - 6 * abs(hour - 11) if hour < 14 else 80 - 9 * abs(hour - 16)
    return Fraction(max(peak - 4 * day, 0) // (1 + 2 * (day == 5)), 100)


def month_document(words):
    """Return the document; only names of phases and what charts say are in the reader's language."""
    return Document(
        title="January 2026",
        subtitle="2026-01-01 to 2026-02-01, times in Asia/Shanghai",
        zone=ZONE,
        sections=(_headline(words), _sessions(), _use(words), _comparison(words)),
    )


def _headline(words):
    total = sum(day.micros for day in days())
    phases = {phase: sum(day.phase_micros.get(phase, 0) for day in days()) for phase in _MINUTES}
    waste = phases[Phase.STARTING] + phases[Phase.IDLE]
    figures = (
        Figure(label="Total", value=Amount(micros=total, currency="CNY"), note="at 1.80 CNY/h"),
        Figure(label="Machine up", value=Length(timedelta(hours=86, minutes=12)), note="27 sessions"),
        Figure(label="Per 1,000 requests", value=Amount(micros=2_140_000, currency="CNY"), note="idle included"),
        Figure(label="Per million tokens", value=Amount(micros=1_020_000, currency="CNY"), note="idle included"),
        Figure(label="Waste", value=Share(Fraction(waste, total)), note="idle, starting and unknown"),
        Figure(label="Forecast", value=None, note="the month is over"),
    )
    chart = daily_cost_chart(days(), currency="CNY", words=words)
    text = "The machine was up for 86 hours of 744, and busy for 68 of them. Most of the rest was waiting for requests."
    return Section(key="headline", title="In short", blocks=(Figures(figures), Prose(text), chart))


def _sessions():
    started = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    columns = (
        Column(heading="start"),
        Column(heading="end"),
        Column(heading="minutes", numeric=True, adds_up=True),
        Column(heading="GPU", shrinks=True),
        Column(heading="price", numeric=True),
        Column(heading="cost", numeric=True, adds_up=True),
        Column(heading="end by"),
    )
    rows = tuple(
        (
            Moment(started + timedelta(hours=12 * number)),
            Moment(started + timedelta(hours=12 * number, minutes=100 + number)),
            Length(timedelta(minutes=100 + number), "minutes"),
            "Tesla T4" if number % 9 else "<b>RTX PRO 6000</b> Blackwell Max-Q Workstation Edition",
            Amount(micros=_HOUR, currency="CNY", per="h"),
            Amount(micros=(100 + number) * _HOUR // 60, currency="CNY"),
            "idle" if number % 5 else "stopped",
        )
        for number in range(60)
    )
    length = sum((row[2].value for row in rows), timedelta())
    cost = Amount(micros=sum(row[5].micros for row in rows), currency="CNY")
    footer = ("all", None, Length(length, "minutes"), None, None, cost, None)
    table = Table(key="sessions", title="60 sessions", columns=columns, rows=rows, footer=footer)
    return Section(key="sessions", title="Sessions", blocks=(table, Notes(("Billed by the exact time.",))))


def _use(words):
    names = phase_names(words)
    columns = (Column(heading="phase"), Column(heading="share", numeric=True), Column(heading="hours", numeric=True))
    rows = tuple((names[phase], Share(Fraction(1, 7)), Count(12)) for phase in Phase)
    return Section(
        key="use",
        title="Use",
        blocks=(use_chart(week_use(), words=words), Table(key="phases", columns=columns, rows=rows)),
    )


def _comparison(words):
    columns = (
        Column(heading="GPU"),
        Column(heading="basis"),
        Column(heading="as run", numeric=True),
        Column(heading="always on", numeric=True),
        Column(heading="what it needs", shrinks=True),
    )
    rows = tuple(
        (
            gpu.name,
            "estimated" if gpu.is_estimated else "measured",
            Amount(micros=gpu.as_run_micros, currency="CNY"),
            Amount(micros=gpu.always_on_micros, currency="CNY"),
            "--dtype half, since it has no bfloat16; no FP8 KV cache" if gpu.name == "T4" else "",
        )
        for gpu in GPUS
    )
    notes = Notes(
        (
            "Estimated by roofline from memory bandwidth and FLOP/s; loading and idle tails are carried over.",
            "Always on is 744 hours.",
        )
    )
    table = Table(key="gpus", title="This month on other GPUs", columns=columns, rows=rows)
    verdict = Prose("The cheapest that fits is T4, which is what you have.")
    blocks = (verdict, comparison_chart(GPUS, currency="CNY", words=words), table, notes)
    return Section(key="comparison", title="Comparison", blocks=blocks)
