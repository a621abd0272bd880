"""`costctl prices`: what machines cost, and which price this one gets. Changes are in `prices_change.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from costctl.cli.prices_change import import_, refresh, remove, set_
from costctl.reports.offers import ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.domain.offers import Offer
    from costctl.reports.offers import Wanted

_MARKETS = click.Choice(("on-demand", "spot"))
_SHOWN_AT_ONCE = 50
_EPILOG = """\b
Examples:
  costctl prices list --gpu L4 --max-price '0.6 USD/h'
  costctl prices set '1.8 CNY/h' --gpu T4
  costctl prices explain
"""
_LIST_EPILOG = """\b
Examples:
  costctl prices list --gpu T4 --gpu L4 --gpu-count 1 --market on-demand
  costctl prices list --provider aws --region 'us-*' --max-price '1 USD/h' --sort gpu-price
  costctl prices list --own --csv > my-prices.csv
"""
_EXPLAIN_EPILOG = """\b
Examples:
  costctl prices explain
  costctl prices explain --gpu 'Tesla T4' --provider aws --instance-type g4dn.xlarge --region us-east-1
"""


@click.group(epilog=_EPILOG)
def prices() -> None:
    """Look up prices of GPU machines, set your own, and see which one a machine gets.

    The book has three parts: your own prices, price lists that you imported, and a dated catalog that ships with
    costctl. A price of your own comes first, then the newest of the lists and the catalog. What is not known stays
    unknown.
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option(
            "--provider", "providers", multiple=True, metavar="NAME", help="Only of this provider; repeatable."
        ),
        click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="Only with this GPU; repeatable."),
        click.option("--gpu-count", type=click.IntRange(min=1), help="Only with so many GPUs."),
        click.option("--instance-type", metavar="PATTERN", help="Only these instance types, like 'g4dn.*'."),
        click.option("--region", metavar="PATTERN", help="Only in these regions, like 'us-*'."),
        click.option("--market", type=_MARKETS, help="Only on these terms."),
        click.option("--currency", metavar="CODE", help="Only in this currency."),
        click.option("--max-price", metavar="PRICE", help="Only what costs at most so much, like '1.5 USD/h'."),
        click.option("--own", is_flag=True, help="Only own prices."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@prices.command("list", epilog=_LIST_EPILOG)
@_filters
@click.option("--sort", type=click.Choice(ORDERS), default="price", show_default=True, help="By what to sort.")
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN_AT_ONCE, show_default=True, help="Show so many.")
@click.option("--all", "everything", is_flag=True, help="Show all, however many.")
@click.option("--json", "form", flag_value="json", help="Print a JSON list, of all that match.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV that `prices import` takes, of all that match.")
def list_(*, sort: str, limit: int, everything: bool, form: str | None, **filters: Any) -> None:
    """List what machines cost an hour, cheapest first, with the age of every price; doubtful ones are marked."""
    from datetime import UTC, datetime  # commands import late, so that each starts fast

    from costctl.domain.offers import Doubts
    from costctl.reports.offers import ordered

    now = datetime.now(UTC)
    offers, wanted = _book(), _wanted(**filters)
    doubts = Doubts(offers, now)
    found = ordered((offer for offer in offers if offer in wanted), sort)
    if form:
        from costctl.reports import price_documents

        click.echo(price_documents.WRITERS[form](found, doubts, now), nl=False)
        return
    from costctl.reports import price_text

    shown = found if everything else found[:limit]
    for line in price_text.offer_lines(shown, doubts, now) if shown else ("no price matches",):
        click.echo(line)
    if len(shown) < len(found):
        click.echo(f"{len(shown)} of {len(found)} are shown; more with --limit or --all", err=True)


@prices.command(epilog="\b\nExamples:\n  costctl prices show g4dn.xlarge\n  costctl prices show L4 --json")
@click.argument("what")
@click.option("--json", "form", flag_value="json", help="Print a JSON list.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV that `prices import` takes.")
def show(*, what: str, form: str | None) -> None:
    """Show all that is known of the prices of WHAT: an instance type, a GPU, or the number of an own price."""
    from datetime import UTC, datetime

    from costctl.domain.offers import Doubts
    from costctl.errors import BadValueError
    from costctl.reports import price_documents, price_text
    from costctl.reports.offers import ordered
    from costctl.wiring import prices as book

    now = datetime.now(UTC)
    offers = _book()
    found = [offer for offer in offers if _is_called(offer, what)]
    try:
        model = book.gpu_models().named(what)
        found = [offer for offer in offers if offer.gpu == model.name or offer in found]
    except BadValueError as error:
        model = None
        if not found:
            raise BadValueError(f"{error}; nor is it an instance type or the number of an own price") from None
    found = ordered(found, "price")
    doubts = Doubts(offers, now)
    if form:
        click.echo(price_documents.WRITERS[form](found, doubts, now), nl=False)
        return
    for line in price_text.model_lines(model) if model else ():
        click.echo(line)
    for offer in found:
        for line in price_text.offer_in_full(offer, doubts, now):
            click.echo(line)


@prices.command(epilog=_EXPLAIN_EPILOG)
@click.option("--gpu", metavar="NAME", help="The machine's GPU as nvidia-smi calls it; this machine's if left out.")
@click.option("--gpu-count", type=click.IntRange(min=1), help="How many it has.  [default: as found, or 1]")
@click.option("--provider", metavar="NAME", help="Whom it is rented from; the setting if left out.")
@click.option("--instance-type", metavar="NAME", help="What the provider calls it; the setting if left out.")
@click.option("--region", metavar="NAME", help="Where it is; the setting if left out.")
@click.option("--market", type=_MARKETS, help="On which terms it is rented; the setting if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with every offer that was looked at.")
def explain(*, gpu: str | None, gpu_count: int | None, as_json: bool, **facts: str | None) -> None:
    """Say which price a machine gets, and why: this one as it is set up, or another that you describe."""
    from dataclasses import replace
    from datetime import UTC, datetime

    from costctl.domain.offers import Doubts
    from costctl.domain.sessions import Instance
    from costctl.reports import price_documents, price_text
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    settings = load_settings({name.replace("_", "-"): value for name, value in facts.items()}).settings
    if gpu is None:
        machine = book.read_this_machine(settings)
        machine = replace(machine, gpu_count=gpu_count or machine.gpu_count)
        choice = book.choose_price(settings, machine)
    else:
        machine = book.as_rented(Instance(machine="described", gpu=gpu, gpu_count=gpu_count or 1), settings)
        choice = book.choose_from_book(settings, machine)
    now = datetime.now(UTC)
    if as_json:
        click.echo(price_documents.choice_json(choice, machine, now), nl=False)
        return
    doubts = Doubts((one.offer for one in choice.candidates), now)
    for line in price_text.choice_lines(choice, machine, models=book.gpu_models(), doubts=doubts, now=now):
        click.echo(line)


def _book() -> list[Offer]:
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    return book.all_offers(load_settings({}).settings)


def _wanted(
    *,
    providers: tuple[str, ...],
    gpus: tuple[str, ...],
    market: str | None,
    currency: str | None,
    max_price: str | None,
    **others: Any,
) -> Wanted:
    from costctl.domain.currencies import read_currency
    from costctl.domain.offers import Market
    from costctl.reports.offers import Wanted, most_to_pay
    from costctl.wiring import prices as book

    currency = read_currency(currency) if currency else None
    most = None
    if max_price is not None:
        most, currency = most_to_pay(max_price, currency)
    return Wanted(
        providers=frozenset(name.casefold() for name in providers),
        gpus=frozenset(book.gpu_models().named(name).name for name in gpus),
        market=Market(market) if market else None,
        currency=currency,
        most_micros=most,
        **others,
    )


def _is_called(offer: Offer, what: str) -> bool:
    if offer.id is not None and what.lstrip("#") == str(offer.id):
        return True
    return (offer.instance_type or "").casefold() == what.casefold()


for _command in (set_, import_, refresh, remove):
    prices.add_command(_command)
