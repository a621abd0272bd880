"""A comparison as JSON: for programs, so exact. `schemas/comparison-1.json` says what each key means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from costctl.domain.comparison import per_year, share_less
from costctl.domain.fit import caveats
from costctl.reports.assumptions import assumption
from costctl.reports.exact import money, number, seconds
from costctl.reports.rates import rates_object
from costctl.reports.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from costctl.domain.comparison import Comparison, Held, Row
    from costctl.domain.fit import Fit
    from costctl.domain.offers import Offer
    from costctl.domain.on_gpu import OnGpu, Part
    from costctl.domain.rates import RateUse
    from costctl.domain.workload import Spent

SCHEMA = "costctl.comparison/1"
"""As `schemas/comparison-1.json` says; it may grow by keys."""


def comparison_json(found: Comparison, rates: Sequence[RateUse]) -> str:
    """Return a comparison as a JSON object, with the rates of exchange that it used."""
    whole = {**comparison_object(found), "rates": rates_object(rates)}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def comparison_object(found: Comparison) -> dict[str, Any]:
    """Return a comparison as an object, to stand alone or within a report."""
    workload = found.workload
    return {
        "schema": SCHEMA,
        "machines": workload.machines,
        "period_seconds": seconds(workload.period),
        "requests": workload.traffic.requests,
        "prompt_tokens": workload.traffic.prompt_tokens,
        "generation_tokens": workload.traffic.generation_tokens,
        "spent": [_spent(part, workload.period) for part in workload.spent],
        "gpus": [_gpu(on, found) for on in found.gpus],
        "baseline": found.held and _baseline(found.held),
        "cheapest": [_cheapest(found, currency) for currency in found.currencies],
    }


def _gpu(on: OnGpu, found: Comparison) -> dict[str, Any]:
    return {
        "gpu": on.gpu.name,
        "fit": on.verdict or "unknown",
        "basis": on.weakest.ground.basis if on.weakest else "unchanged",
        "flags": on.flags,
        "caveats": list(dict.fromkeys(one for part in on.parts for one in caveats(on.gpu, part.model))),
        "busy_seconds": seconds(on.busy),
        "as_run_seconds": seconds(on.as_run),
        "loads": [_load(part) for part in on.parts],
        "markets": [_row(row, found) for row in found.rows if row.on.gpu.name == on.gpu.name],
    }


def _load(part: Part) -> dict[str, Any]:
    speed = part.speed
    return {
        "model": part.load.model,
        "ran_on": part.load.gpu,
        "busy_seconds": seconds(speed.busy),
        "carried_over_seconds": seconds(part.load.carried_over),
        "basis": speed.ground.basis,
        "ground": speed.ground.name.lower().replace("_", " "),
        "assumption": assumption((part,), Wording.of("en")),
        "concurrency": speed.concurrency and round(speed.concurrency, 2),
        "memory": part.fit and _memory(part.fit),
    }


def _memory(fit: Fit) -> dict[str, Any]:
    return {
        "fit": fit.verdict,
        "available_bytes": fit.available_bytes,
        "weights_bytes": fit.weights_bytes,
        "kv_cache_bytes": fit.kv_bytes,
        "overhead_bytes": fit.overhead_bytes,
        "context": fit.context,
        "longest_context": fit.longest_context,
        "kv_cache_tokens": fit.kv_tokens,
        "requests_at_once": fit.sequences(),
    }


def _row(row: Row, found: Comparison) -> dict[str, Any]:
    return {
        "market": row.market,
        "currency": row.currency,
        "price_per_hour": money(row.price.micros_per_hour if row.price else None),
        "offer": row.offer and _offer(row.offer),
        "converted_from": row.converted_from,
        "doubts": row.doubts,
        "as_run": _costs(row.as_run_micros if row.is_possible else None, row.period),
        "always_on": _costs(row.always_on_micros if row.is_possible else None, row.period),
        "per_million_tokens": money(row.micros_per_million_tokens if row.is_possible else None),
        "less_than_always_on": number(row.less_than_always_on),
        "less_than_baseline": number(found.less_than_baseline(row)),
        "overfull": row.is_overfull,
    }


def _costs(micros: int | None, period: timedelta) -> dict[str, Any]:
    return {"cost": money(micros), "cost_per_52_weeks": money(per_year(micros, period))}


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "origin": offer.origin,
        "provider": offer.provider,
        "instance_type": offer.instance_type,
        "region": offer.region,
        "gpu_count": offer.gpu_count,
        "price_per_hour": money(offer.micros_per_hour),
        "currency": offer.currency,
        "dated": offer.since and f"{offer.since:%Y-%m-%d}",
        "source": offer.source,
    }


def _baseline(held: Held) -> dict[str, Any]:
    baseline, row = held.baseline, held.row
    return {
        "gpu": baseline.gpu.name,
        "use": "always-on" if baseline.is_always_on else "as-run",
        "market": baseline.market,
        "currency": row.currency,
        "price_per_hour": money(row.price.micros_per_hour if row.price else None),
        "price_source": row.price and row.price.source,
        **_costs(held.micros, row.period),
    }


def _spent(part: Spent, period: timedelta) -> dict[str, Any]:
    always_on = part.always_on_micros(period)
    return {
        "gpu": part.gpu,
        "market": part.market,
        "currency": part.currency,
        "cost": money(part.micros),
        "seconds": seconds(part.length),
        "machines": part.machines,
        "always_on": money(always_on),
        "less_than_always_on": number(share_less(part.micros, always_on)),
    }


def _cheapest(found: Comparison, currency: str) -> dict[str, Any]:
    row = found.cheapest(currency)
    return {
        "currency": currency,
        "gpu": row and row.on.gpu.name,
        "market": row and row.market,
        "as_run": money(row.as_run_micros) if row else None,
        "spent": money(found.spent_micros(currency)),
        "why_none": found.lack(currency),
        "none_is_cheaper": found.is_none_cheaper(currency),
    }
