"""Verbs about prices: own ones, and lists that were imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from costctl.domain.matching import clashes
from costctl.domain.offers import Market, Offer, Origin
from costctl.errors import LedgerError, RefusedError
from costctl.ledger.schema import PRICES
from costctl.ledger.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_AS_THEY_ARE = (
    *("provider", "instance_type", "gpu", "gpu_count", "region", "market", "currency", "micros_per_hour"),
    *("source", "note", "origin"),
)


class Prices(Transactions):
    """Prices are added and taken away, never changed: what was frozen into a session stays there anyway."""

    def prices(self) -> list[Offer]:
        """Return all own prices and lines of imported lists, in the order in which they came."""
        with self._look() as connection:
            return _read(connection)

    def set_prices(self, offers: Sequence[Offer], *, replace: bool = False) -> list[int]:
        """Add own prices, all or none, and return their ids.

        Args:
            offers: the prices; none may hold beside another, for the same machine from the same instant.
            replace: take those away that new ones would hold beside; then only the new ones may not clash.

        Raises:
            RefusedError: two would hold at once.
        """
        for rivals in clashes(offers, ()):
            raise RefusedError(_at_once(*rivals))
        with self._begin() as connection:
            own = [price for price in _read(connection) if price.origin is Origin.OWN]
            found = list(clashes(offers, own))
            if found and not replace:
                raise RefusedError(_at_once(*found[0]))
            _delete(connection, {old.id for old, _ in found})
            return [_insert(connection, offer) for offer in offers]

    def replace_price_lists(self, offers: Sequence[Offer]) -> int:
        """Put imported lists in the place of older ones of the same sources and providers; return how many lines went.

        All or nothing happens.
        """
        lists = {(offer.source, offer.provider) for offer in offers}
        gone = 0
        with self._begin() as connection:
            for source, provider in lists:
                this = (PRICES.c.origin == Origin.LIST, PRICES.c.source == source, PRICES.c.provider == provider)
                gone += connection.execute(delete(PRICES).where(*this)).rowcount
            if offers:
                connection.execute(insert(PRICES), [_values(offer) for offer in offers])
        return gone

    def remove_price(self, price_id: int) -> Offer:
        """Take a price away and return it.

        Raises:
            LedgerError: there is none with this id.
        """
        with self._begin() as connection:
            found = next((price for price in _read(connection) if price.id == price_id), None)
            if found is None:
                raise LedgerError(f"the ledger has no price {price_id}: `costctl prices list --own` shows their ids")
            _delete(connection, {price_id})
        return found


def _read(connection: Connection) -> list[Offer]:
    rows = connection.execute(select(*PRICES.c).order_by(PRICES.c.id))
    return [_offer(row) for row in rows]


def _offer(row: Any) -> Offer:
    facts = {name: getattr(row, name) for name in _AS_THEY_ARE} | {
        "market": Market(row.market),
        "origin": Origin(row.origin),
    }
    return Offer(**facts, since=row.valid_from, id=row.id)


def _values(offer: Offer) -> dict[str, Any]:
    return {name: getattr(offer, name) for name in _AS_THEY_ARE} | {"valid_from": offer.since}


def _insert(connection: Connection, offer: Offer) -> int:
    result: Any = connection.execute(insert(PRICES).values(_values(offer)))
    return int(result.inserted_primary_key[0])


def _delete(connection: Connection, ids: Iterable[int | None]) -> None:
    for price_id in ids:
        connection.execute(delete(PRICES).where(PRICES.c.id == price_id))


def _at_once(one: Offer, other: Offer) -> str:
    number = f" (number {one.id})" if one.id is not None else ""
    return (
        f"two own prices would hold at once for {other.gpu_count} x {other.gpu} ({other.place}) from {other.day}: "
        f"{one.amount}{number} and {other.amount}; give another date, or --replace"
    )
