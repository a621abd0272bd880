"""What a comparison is made from: the price book, the facts of models and GPUs, what the ledger and benchmarks tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from costctl.adapters import catalog
from costctl.adapters.model_config import find_config, read_config
from costctl.domain.best_offers import Shelf, Terms
from costctl.domain.comparison import Knowledge
from costctl.domain.workload import measures_of
from costctl.wiring.prices import all_offers
from costctl.wiring.workload import loads_of, paid_offers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from costctl.config.settings import Settings
    from costctl.domain.gpu_models import GpuModels
    from costctl.domain.models import ModelBook, ModelFacts
    from costctl.domain.sessions import Session
    from costctl.domain.workload import Measure, Workload
    from costctl.ledger.store import Ledger

MEASURES_REACH = timedelta(days=180)
"""Engines and models change: what is older says little of how fast a GPU is today."""
_MOST_SESSIONS = 500
"""So many sessions are asked what they measured, the newest ones: it is a question of speed, not of history."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What was asked for on the command line: None leaves it to the settings and the sessions."""

    provider: str | None = None
    region: str | None = None
    currency: str | None = None


def knowledge(
    workload: Workload,
    *,
    settings: Settings,
    wish: Wish,
    sessions: Sequence[Session] = (),
    measures: Iterable[Measure] = (),
    now: datetime,
) -> Knowledge:
    """Return what is known for a comparison of `workload`.

    Args:
        workload: what is compared.
        settings: how this machine is rented, if they say.
        wish: how other machines shall be rented.
        sessions: those behind the workload; what they paid comes first among prices.
        measures: how fast models were on GPUs.
        now: when offers shall hold.

    Raises:
        LedgerError: the price book cannot be read.
        BadValueError: a model's folder holds no configuration that can be read.
    """
    gpus, book = catalog.gpu_models(), catalog.model_book()
    names = {load.model for load in workload.loads if load.model}
    return Knowledge(
        models={name: model_facts(name, book) for name in names},
        gpus=gpus,
        shelf=Shelf([*all_offers(settings), *paid_offers(sessions, gpus)], now),
        terms=terms(settings, wish, sessions),
        measures=tuple(measures),
    )


def model_facts(name: str, book: ModelBook) -> ModelFacts | None:
    """Return the facts of a model from its own files on this machine, else from the catalog; None if it is unknown.

    Raises:
        BadValueError: its `config.json` cannot be read.
    """
    path = find_config(name, os.environ)
    return read_config(path, name) if path else book.find(name)


def terms(settings: Settings, wish: Wish, sessions: Sequence[Session]) -> Terms:
    """Return where to rent: as asked, else as the newest session did, else as the settings say."""
    newest = sessions[-1].instance if sessions else None
    provider = wish.provider or (newest and newest.provider) or settings.provider
    usual = newest if newest and newest.provider else settings
    is_usual = provider is not None and provider == usual.provider
    prices = [session.price for session in sessions if session.price is not None]
    newest_price = prices[-1] if prices else settings.price
    return Terms(
        provider=provider,
        region=wish.region or (usual.region if is_usual else None),
        instance_type=usual.instance_type if is_usual else None,
        currency=wish.currency or (None if newest_price is None else newest_price.currency),
        asked=frozenset(fact for fact in ("provider", "region") if getattr(wish, fact)),
    )


def measures_in(ledger: Ledger, gpus: GpuModels, now: datetime) -> list[Measure]:
    """Return what the ledger's newest sessions and its benchmarks tell of speed."""
    since = now - MEASURES_REACH
    sessions = ledger.sessions(since=since, last=_MOST_SESSIONS)
    benchmarks = ledger.benchmarks()
    if not sessions:
        return benchmarks
    measured_at = max(session.known_until for session in sessions)
    return [*measures_of(loads_of(ledger, sessions, since, now, gpus), measured_at), *benchmarks]
