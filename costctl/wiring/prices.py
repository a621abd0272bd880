"""The price book: own prices and imported lists in the ledger, and the catalog. Quick to import."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from costctl.config.home import find_home
from costctl.domain.offers import Offer, Origin
from costctl.domain.prices import Choice, choose, chosen_by_setting
from costctl.domain.sessions import Instance
from costctl.errors import CostctlError, LedgerMissingError, LedgerOlderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.config.settings import Settings
    from costctl.domain.gpu_models import GpuModels
    from costctl.domain.gpus import GpuReading
    from costctl.domain.pricelists import PriceList
    from costctl.ledger.store import Ledger


def gpu_models() -> GpuModels:
    """Return the kinds of GPU that costctl has facts of."""
    from costctl.adapters import catalog

    return catalog.gpu_models()


def offers_in_ledger(settings: Settings) -> list[Offer]:
    """Return own prices and imported lists; none if there is no ledger yet, or one from before there were prices.

    Raises:
        LedgerError: it cannot be read.
    """
    url = settings.ledger or find_home(os.environ).ledger_url
    if settings.ledger is None and not (find_home(os.environ).folder / "ledger.db").exists():
        return []  # said without loading SQLAlchemy
    from costctl.ledger.store import Ledger

    try:
        with Ledger.read(url) as ledger:
            return ledger.prices()
    except (LedgerMissingError, LedgerOlderError):
        return []


def all_offers(settings: Settings) -> list[Offer]:
    """Return own prices, imported lists and the catalog. Raises LedgerError."""
    from costctl.adapters import catalog

    return offers_in_ledger(settings) + catalog.catalog_offers()


@contextmanager
def writable_ledger(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger to write prices, beside a running daemon too; it is made if there is none.

    Raises:
        CostctlError: it cannot be written.
    """
    home = find_home(os.environ)
    if settings.ledger is None:
        try:
            home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CostctlError(f"cannot write to {home.folder}: {error.strerror}; set COSTCTL_HOME") from error
    from costctl.ledger.store import Ledger

    with Ledger.open(settings.ledger or home.ledger_url) as ledger:
        yield ledger


def as_rented(instance: Instance, settings: Settings) -> Instance:
    """Return `instance` with what the settings say of how it is rented; what they do not say stays unknown."""
    return replace(
        instance,
        provider=settings.provider,
        instance_type=settings.instance_type,
        region=settings.region,
        market=settings.market,
    )


def this_machine(settings: Settings, readings: Sequence[GpuReading]) -> Instance:
    """Return what decides on the price of this machine: how it is rented, and its GPUs."""
    gpu = readings[0].name if readings else None
    return as_rented(Instance(machine="here", gpu=gpu, gpu_count=len(readings)), settings)


def choose_price(settings: Settings, machine: Instance) -> Choice:
    """Return the price that `machine` gets now, and why. Raises LedgerError."""
    if settings.price is not None:
        return chosen_by_setting(settings.price)
    return choose_from_book(settings, machine)


def choose_from_book(settings: Settings, machine: Instance) -> Choice:
    """Return the price that the price book has for `machine` now, and why. Raises LedgerError."""
    offers = all_offers(settings)
    own = [offer for offer in offers if offer.origin is Origin.OWN]
    listed = [offer for offer in offers if offer.origin is not Origin.OWN]
    return choose(machine, own=own, listed=listed, models=gpu_models(), now=datetime.now(UTC))


def read_this_machine(settings: Settings) -> Instance:
    """Return what decides on the price of this machine, whose GPUs are looked at now. Raises GpuError."""
    from costctl.wiring.plan import find_gpus

    gpus, _ = find_gpus(settings, find_home(os.environ))
    readings = gpus.read()
    gpus.release()
    return this_machine(settings, readings)


def fetch_price_lists(providers: Sequence[str], now: datetime) -> PriceList:
    """Return today's prices of `providers` (of all, if none is named) from gpuhunt.

    Raises:
        MissingPieceError: gpuhunt is not installed.
        CostctlError: it has none to give.
    """
    from costctl.adapters import gpuhunt

    return gpuhunt.read_items(gpuhunt.query_gpuhunt(providers), models=gpu_models(), now=now)
