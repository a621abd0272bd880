"""`costctl compare`: what a model, or a month that was, would cost on other GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from costctl.cli.schema import schema_option

if TYPE_CHECKING:
    from costctl.domain.workload import Plan
    from costctl.wiring.comparison import Compared

_EPILOG = """\b
Examples:
  costctl compare --hours-per-week 8 --gpus T4 --baseline 'A10G always-on' --provider reference-cn
  costctl compare --model Qwen/Qwen3-8B --requests-per-day 2000 --context 8192
  costctl compare --like 2026-01 --gpus T4,L4,A10G --market spot
"""
_DEFAULT_GPUS = "T4,L4,A10G"
_HOURS = click.FloatRange(min=0, max=168, min_open=True)
_AT_LEAST_ONE = click.IntRange(min=1, max=10**9)


@click.command(epilog=_EPILOG)
@click.option("--model", metavar="NAME", help="The model, by its name or as the folder of its files.")
@click.option("--context", type=_AT_LEAST_ONE, metavar="TOKENS", help="Tokens of a request.  [default: the model's]")
@click.option("--hours-per-week", "hours", type=_HOURS, metavar="H", help="So long the machine is up in a week.")
@click.option("--requests-per-day", type=_AT_LEAST_ONE, metavar="N", help="So much is asked; hours follow from it.")
@click.option("--prompt-tokens", type=click.IntRange(0, 10**7), metavar="N", help="Read per request.  [default: 512]")
@click.option("--output-tokens", type=click.IntRange(1, 10**7), metavar="N", help="Written.  [default: 256]")
@click.option("--like", "month", metavar="YYYY-MM", help="As in this month of the ledger.")
@click.option("--gpus", metavar="NAMES", help=f"GPUs, with commas between.  [default: {_DEFAULT_GPUS}]")
@click.option("--provider", metavar="NAME", help="Rent only from this provider.")
@click.option("--region", metavar="NAME", help="Rent only in this region.")
@click.option("--market", type=click.Choice(("on-demand", "spot")), help="Only on these terms; both if left out.")
@click.option("--currency", metavar="CODE", help="In this currency, by the [[rate]] tables of the configuration.")
@click.option("--baseline", metavar="TEXT", help="Compare with 'GPU [always-on|as-run] [spot] [at 3.0 CNY/h]'.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone of --like; the configured one if left out.")
@click.option("--lang", type=click.Choice(("en", "zh")), help="Language; the environment's if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@schema_option("comparison-1")
def compare(*, lang: str | None, as_json: bool, **asked: Any) -> None:
    """Compare GPUs for a model before renting one, or for a month that was.

    Say how much is to be done: --hours-per-week, --requests-per-day (or both), or --like a month of the ledger. Per
    GPU you get whether the model fits, how many hours it needs, what that costs as run and always on, and what the
    figures rest on: a measure where the ledger or an imported benchmark has the model on that GPU, else an estimate.
    """
    import os

    from costctl.reports.wording import Wording, language_of

    words = Wording.of(lang or language_of(os.environ))
    found = _compared(**asked)
    if as_json:
        from costctl.reports.comparison_json import comparison_json

        click.echo(comparison_json(found.comparison, found.rates), nl=False)
        return
    from costctl.reports.comparison import comparison_document
    from costctl.reports.printing import console_for
    from costctl.reports.terminal import print_document

    print_document(comparison_document(found.comparison, found.rates, words), console_for(), words)


def _compared(*, month: str | None, zone_name: str | None, gpus: str | None, **asked: Any) -> Compared:
    from datetime import UTC, datetime

    from costctl.domain.currencies import read_currency
    from costctl.domain.offers import Market
    from costctl.wiring.comparison import Wish, compare_period, compare_plan, listed_gpus

    now = datetime.now(UTC)
    market, currency = asked.pop("market"), asked.pop("currency")
    wish = Wish(
        gpus=listed_gpus(gpus),
        market=Market(market) if market else None,
        currency=read_currency(currency) if currency else None,
        **{name: asked.pop(name) for name in ("provider", "region", "baseline")},
    )
    if month is None:
        return compare_plan(_plan(**asked), wish, now=now)
    from costctl.reports.periods import read_period
    from costctl.wiring import load_zone

    _refuse("--like takes this from the ledger", **asked)
    return compare_period(read_period(month=month, now=now, zone=load_zone(zone_name)), wish, now=now)


def _plan(*, hours: float | None, requests_per_day: int | None, **facts: Any) -> Plan:
    from datetime import timedelta

    from costctl.domain.workload import Plan

    if hours is None and requests_per_day is None:
        raise click.UsageError("say how much is to be done: --hours-per-week, --requests-per-day or --like YYYY-MM")
    if requests_per_day is None:
        sizes = {name: facts.pop(name) for name in ("prompt_tokens", "output_tokens")}
        _refuse("it says how large requests are, so say how many with --requests-per-day", **sizes)
    elif facts["model"] is None:
        raise click.UsageError("--requests-per-day needs a --model: how long they take depends on it")
    return Plan(
        hours=None if hours is None else timedelta(hours=hours),
        requests_per_day=requests_per_day or 0,
        **{name: value for name, value in facts.items() if value is not None},
    )


def _refuse(why: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        option = {"hours": "--hours-per-week"}.get(given[0], f"--{given[0].replace('_', '-')}")
        raise click.UsageError(f"{option} cannot be used here: {why}")
