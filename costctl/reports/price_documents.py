"""The price book as JSON and CSV: for programs, so exact. Money is decimal text, instants are ISO 8601.

What `prices list --csv` prints, `prices import` takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from costctl.domain.csv_cells import csv_text
from costctl.domain.money import format_amount
from costctl.domain.pricelists import FACTS, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from costctl.domain.offers import Doubts, Offer
    from costctl.domain.prices import Choice
    from costctl.domain.sessions import Instance

SCHEMA = "costctl.price/1"
_CSV_COLUMNS = ("origin", "id", *FACTS, "age_days", "doubts", *WORDS)


def offers_json(offers: Iterable[Offer], doubts: Doubts, now: datetime) -> str:
    """Return offers as a list of objects."""
    return _dump([_offer(offer, now) | {"doubts": doubts.about(offer)} for offer in offers])


def offers_csv(offers: Iterable[Offer], doubts: Doubts, now: datetime) -> str:
    """Return offers as CSV in costctl's own format, with what else is known of each."""
    rows = (_offer(offer, now) | {"doubts": "; ".join(doubts.about(offer))} for offer in offers)
    return csv_text(_CSV_COLUMNS, ({name: row.get(name) for name in _CSV_COLUMNS} for row in rows))


WRITERS = {"json": offers_json, "csv": offers_csv}


def choice_json(choice: Choice, machine: Instance, now: datetime) -> str:
    """Return which price a machine gets and why, with every offer that was looked at."""
    price = choice.price
    return _dump(
        {
            "schema": SCHEMA,
            "machine": {
                **{name: getattr(machine, name) for name in ("provider", "instance_type", "region", "market")},
                "gpu": machine.gpu,
                "gpu_count": machine.gpu_count,
            },
            "basis": choice.basis,
            "price": price
            and {
                "per_hour": format_amount(price.micros_per_hour),
                "currency": price.currency,
                "source": price.source,
                "dated": _instant(price.dated),
            },
            "reason": choice.reason,
            "remarks": choice.remarks,
            "ranges": [
                {"currency": one.currency, "low": format_amount(one.low_micros), "high": format_amount(one.high_micros)}
                for one in choice.ranges
            ],
            "candidates": [_offer(one.offer, now) | {"taken": one.taken, "why": one.why} for one in choice.candidates],
        }
    )


def _offer(offer: Offer, now: datetime) -> dict[str, Any]:
    age = offer.age(now)
    return {
        "origin": offer.origin,
        "id": offer.id,
        "provider": offer.provider,
        "instance_type": offer.instance_type,
        "gpu": offer.gpu,
        "gpu_count": offer.gpu_count,
        "region": offer.region,
        "market": offer.market,
        "currency": offer.currency,
        "per_hour": format_amount(offer.micros_per_hour),
        "date": _instant(offer.since) if offer.since else None,
        "age_days": None if age is None else age.days,
        "not_before": _instant(offer.not_before) if offer.not_before else None,
        "source": offer.source,
        "note": offer.note,
    }


def _instant(instant: datetime) -> str:
    """Return a day as such, and any other instant in full."""
    text = instant.isoformat().replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z")


def _dump(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
