"""What a comparison is made from: the price book, the facts of models and GPUs, what the ledger and benchmarks tell."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from costctl.adapters import catalog
from costctl.adapters.model_config import find_config, read_config
from costctl.config.home import find_home
from costctl.domain.baseline import parse_baseline
from costctl.domain.best_offers import Shelf, Terms
from costctl.domain.comparing import Knowledge, compare
from costctl.domain.offers import Market
from costctl.domain.periods import period_between
from costctl.domain.workload import measures_of
from costctl.errors import BadValueError, LedgerMissingError, LedgerOlderError
from costctl.reports.tally import Facts, report_of
from costctl.reports.workloads import loads_of, paid_offers, workload_of
from costctl.wiring import load_settings, read_ledger
from costctl.wiring.billing import load_billing
from costctl.wiring.facts import read_facts
from costctl.wiring.money import Money
from costctl.wiring.prices import all_offers
from costctl.wiring.rates import load_rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from costctl.config.settings import Settings
    from costctl.domain.comparison import Comparison
    from costctl.domain.gpu_models import GpuModel, GpuModels
    from costctl.domain.models import ModelBook, ModelFacts
    from costctl.domain.periods import Period
    from costctl.domain.rates import RateUse
    from costctl.domain.sessions import Session
    from costctl.domain.workload import Measure, Plan, Workload
    from costctl.ledger.store import Ledger
    from costctl.reports.figures import Report, SessionFigure

MEASURES_REACH = timedelta(days=180)
"""Engines and models change: what is older says little of how fast a GPU is today."""


_MOST_SESSIONS = 60
"""So many of the newest on a GPU are asked: how fast it is shows in a few, and a long ledger must not cost time."""
_HOUR = timedelta(hours=1)
_UTC = ZoneInfo("UTC")
DEFAULT_GPUS = ("T4", "L4", "A10G")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What to compare, and how to rent; None and nothing leave it to the sessions, the settings and the defaults."""

    gpus: tuple[str, ...] = ()
    provider: str | None = None
    region: str | None = None
    currency: str | None = None
    market: Market | None = None
    baseline: str | None = None


def listed_gpus(text: str | None) -> tuple[str, ...]:
    """Return the names in `text`, which have commas between them; none for None."""
    if text is None:
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip()) or (text,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A comparison that stands alone, and the rates of exchange that it took."""

    comparison: Comparison
    rates: Sequence[RateUse]


def compare_plan(plan: Plan, wish: Wish, *, now: datetime) -> Compared:
    """Return what a planned week would cost.

    Raises:
        BadValueError: something that was wished for does not exist.
        LedgerError: the ledger is there, and cannot be read.
    """
    settings = load_settings({}).settings
    if settings.idle_shutdown is not None:
        plan = replace(plan, idle_window=timedelta(seconds=settings.idle_shutdown))
    money = Money(currency=wish.currency, rates=load_rates(_UTC))
    measures = _measures(settings, wish, now)
    known = knowledge(plan.workload(), settings=settings, wish=wish, measures=measures, money=money, now=now)
    found = compare_with(known, plan.workload(), wish, money=money, now=now)
    return Compared(comparison=found, rates=money.uses)


def compare_period(period: Period, wish: Wish, *, now: datetime) -> Compared:
    """Return what the work of a period would have cost on other GPUs.

    Raises:
        BadValueError: something that was wished for does not exist, or nothing was done in the period.
        LedgerError: the ledger cannot be read.
    """
    money = Money(currency=wish.currency, rates=load_rates(period.zone))
    with read_ledger() as ledger:
        facts = read_facts(ledger, period, load_billing())
        report = report_of(facts, period=period, now=now, price=money.price)
        if not report.rows:
            raise BadValueError(f"there are no sessions in {period.label}: nothing can be compared")
        found = compare_report(report, wish, ledger=ledger, money=money, now=now)
    return Compared(comparison=found, rates=money.uses)


def compare_report(report: Report, wish: Wish, *, ledger: Ledger, money: Money, now: datetime) -> Comparison:
    """Return what the work in a report would have cost on other GPUs. Raises BadValueError, LedgerError."""
    settings, gpus = load_settings({}).settings, catalog.gpu_models()
    workload, measures = workload_of(report, gpus), measures_in(ledger, gpus, wish.gpus or DEFAULT_GPUS, now)
    known = knowledge(workload, settings=settings, wish=wish, rows=report.rows, measures=measures, money=money, now=now)
    return compare_with(known, workload, wish, money=money, now=now)


def compare_with(known: Knowledge, workload: Workload, wish: Wish, *, money: Money, now: datetime) -> Comparison:
    """Return the comparison that was wished for.

    Raises:
        BadValueError: no such GPU, provider, region or baseline, or no price of the baseline is known.
    """
    found = compare(
        workload,
        _wished_gpus(known, wish),
        knowledge=known,
        markets=(wish.market,) if wish.market else tuple(Market),
        baseline=parse_baseline(wish.baseline, models=known.gpus, now=now) if wish.baseline else None,
    )
    if found.held and found.held.row.price is None:
        gpu, market = found.held.baseline.gpu.name, found.held.baseline.market
        raise BadValueError(f"no price of {gpu} {market} is known to hold as baseline: add one, like 'at 3.0 CNY/h'")
    money.count(found, now)
    return found


def _wished_gpus(known: Knowledge, wish: Wish) -> list[GpuModel]:
    """Return the GPUs to compare; of the default ones, those that are offered where it was wished."""
    gpus = list(dict.fromkeys(known.gpus.named(name) for name in wish.gpus or DEFAULT_GPUS))
    if wish.provider is None and wish.region is None:
        return gpus
    offered = known.shelf.gpus_at(wish.provider, wish.region)
    missing = [gpu.name for gpu in gpus if gpu.name not in offered]
    if missing and (wish.gpus or len(missing) == len(gpus)):
        where = " in ".join(place for place in (wish.provider, wish.region) if place)
        raise BadValueError(f"no price of {', '.join(missing)} at {where} is known; there are {', '.join(offered)}")
    return [gpu for gpu in gpus if gpu.name in offered]


def knowledge(
    workload: Workload,
    *,
    settings: Settings,
    wish: Wish,
    rows: Sequence[SessionFigure] = (),
    measures: Iterable[Measure] = (),
    money: Money,
    now: datetime,
) -> Knowledge:
    """Return what is known for a comparison of `workload`.

    Args:
        workload: what is compared.
        settings: how this machine is rented, if they say.
        wish: how other machines shall be rented.
        rows: the sessions behind the workload; what they paid comes first among prices.
        measures: how fast models were on GPUs.
        money: converts offers to the currency that is wished for.
        now: when offers shall hold.

    Raises:
        LedgerError: the price book cannot be read.
        BadValueError: the configuration of a model that is planned cannot be understood.
    """
    gpus, book = catalog.gpu_models(), catalog.model_book()
    names = {load.model for load in workload.loads if load.model}
    return Knowledge(
        models={name: model_facts(name, book, is_past=bool(rows)) for name in names},
        gpus=gpus,
        shelf=Shelf([*all_offers(settings), *paid_offers(rows, gpus)], now),
        terms=replace(_terms(settings, wish, rows), convert=money.converter(now)),
        measures=tuple(measures),
    )


def model_facts(name: str, book: ModelBook, *, is_past: bool) -> ModelFacts | None:
    """Return the facts of a model from its own files on this machine, else from the catalog; None if it is unknown.

    Raises:
        BadValueError: its `config.json` cannot be understood, and it is no model of the past: those stay unknown.
    """
    path = find_config(name, os.environ)
    if path is None:
        return book.find(name)
    try:
        return read_config(path, name)
    except BadValueError:
        if is_past:
            return book.find(name)
        raise


def _terms(settings: Settings, wish: Wish, rows: Sequence[SessionFigure]) -> Terms:
    """Return where to rent: as asked, else as the newest session did, else as the settings say."""
    newest = rows[-1].instance if rows else None
    provider = wish.provider or (newest and newest.provider) or settings.provider
    usual = newest if newest and newest.provider else settings
    is_usual = provider is not None and provider == usual.provider
    prices = [row.price for row in rows if row.price is not None]
    newest_price = prices[-1] if prices else settings.price
    return Terms(
        provider=provider,
        region=wish.region or (usual.region if is_usual else None),
        instance_type=usual.instance_type if is_usual else None,
        currency=wish.currency or (None if newest_price is None else newest_price.currency),
        asked=frozenset(fact for fact in ("provider", "region") if getattr(wish, fact)),
    )


def measures_in(ledger: Ledger, gpus: GpuModels, wished: Iterable[str], now: datetime) -> list[Measure]:
    """Return what the ledger tells of how fast the `wished` GPUs are: its newest sessions on them, and benchmarks."""
    names = ledger.gpu_names()
    found = []
    for gpu in map(gpus.named, wished):
        called = [name for name in names if gpus.by_nvml_name(name) == gpu]
        sessions = ledger.sessions(since=now - MEASURES_REACH, last=_MOST_SESSIONS, gpus=called) if called else []
        if sessions:
            found += _measured(ledger, sessions, gpus, now)
    return [*found, *ledger.benchmarks()]


def _measured(ledger: Ledger, sessions: Sequence[Session], gpus: GpuModels, now: datetime) -> list[Measure]:
    ids = [session.id for session in sessions]
    facts = Facts(sessions=sessions, runs=ledger.runs_of(ids), usage=ledger.usage_of(ids))
    begin, newest = sessions[0].started_at - _HOUR, max(session.known_until for session in sessions)
    whole = period_between(begin, newest + _HOUR, _UTC)  # usage is counted by the full hour
    return measures_of(loads_of(report_of(facts, period=whole, now=now), gpus))


def _measures(settings: Settings, wish: Wish, now: datetime) -> list[Measure]:
    """Return what the ledger tells of speed; nothing, if there is none yet."""
    if settings.ledger is None and not (find_home(os.environ).folder / "ledger.db").exists():
        return []  # said without loading SQLAlchemy
    try:
        with read_ledger() as ledger:
            return measures_in(ledger, catalog.gpu_models(), wish.gpus or DEFAULT_GPUS, now)
    except (LedgerMissingError, LedgerOlderError):
        return []
