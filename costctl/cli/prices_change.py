"""The commands of `costctl prices` that change the book. A running daemon does not mind: each is one short write."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from costctl.domain.pricelists import PriceList, Problem

_SHOWN_PROBLEMS = 20
_SET_EPILOG = """\b
Examples:
  costctl prices set '1.8 CNY/h' --gpu T4
  costctl prices set '0.35 USD/h' --gpu L4 --provider aws --market spot --from 2026-01-05
"""
_IMPORT_EPILOG = """\b
Examples:
  costctl prices import my-prices.csv
  costctl prices import vms.csv --provider aws --from 2026-02-21 --skip-bad
"""


@click.command("set", epilog=_SET_EPILOG)
@click.argument("price", metavar="'AMOUNT CURRENCY/h'")
@click.option("--gpu", metavar="NAME", help="For machines with this GPU; this machine's if left out.")
@click.option("--gpu-count", type=click.IntRange(min=1), help="With so many of them.  [default: as found, or 1]")
@click.option("--provider", metavar="NAME", help="Only where the machine is known to be rented from this provider.")
@click.option("--instance-type", metavar="NAME", help="Only for this instance type.")
@click.option("--region", metavar="NAME", help="Only in this region.")
@click.option(
    "--market", type=click.Choice(("on-demand", "spot")), default="on-demand", show_default=True, help="Terms."
)
@click.option("--from", "since", metavar="DATE", help="Valid from then on (a date is its 00:00 UTC); now if left out.")
@click.option("--note", default="", help="A word to remember.")
@click.option("--replace", is_flag=True, help="Replace an own price for the same machines from the same instant.")
@click.option("--any-gpu", is_flag=True, help="Take a GPU that costctl does not know, named as nvidia-smi names it.")
def set_(
    *,
    price: str,
    gpu: str | None,
    gpu_count: int | None,
    provider: str | None,
    instance_type: str | None,
    region: str | None,
    market: str,
    since: str | None,
    note: str,
    replace: bool,
    any_gpu: bool,
) -> None:
    """Set a price of your own, like '1.8 CNY/h'.

    It holds for sessions that begin from its date on, until a newer one does. A narrower price (with provider, instance
    type or region) comes before a general one. Sessions keep the price that they began with.
    """
    from datetime import UTC, datetime  # commands import late, so that each starts fast

    from costctl.domain.money import parse_price
    from costctl.domain.offers import Market, Offer, Origin
    from costctl.domain.pricelists import gpu_name, read_day
    from costctl.errors import BadValueError
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    now = datetime.now(UTC).replace(microsecond=0)
    amount = parse_price(price, source="set", dated=now)
    settings = load_settings({}).settings
    if gpu is None:
        here = book.read_this_machine(settings)
        if here.gpu is None:
            raise BadValueError("no GPU is found here: say with --gpu which one this price is for")
        gpu, gpu_count, any_gpu = here.gpu, gpu_count or here.gpu_count, True
    offer = Offer(
        provider=provider,
        instance_type=instance_type,
        region=region,
        gpu=gpu_name(gpu, book.gpu_models(), any_gpu=any_gpu),
        gpu_count=gpu_count or 1,
        market=Market(market),
        currency=amount.currency,
        micros_per_hour=amount.micros_per_hour,
        origin=Origin.OWN,
        since=read_day(since) if since else now,
        source="set by hand",
        note=note,
    )
    with book.writable_ledger(settings) as ledger:
        (number,) = ledger.set_prices([offer], replace=replace)
    click.echo(
        f"own price {number}: {offer.amount} for {offer.gpu_count} x {offer.gpu} ({offer.place}) from {offer.day}"
    )


@click.command(epilog="\b\nExamples:\n  costctl prices list --own\n  costctl prices remove 3")
@click.argument("number", type=int)
def remove(*, number: int) -> None:
    """Take away an own price (or a line of an imported list) by its number. Sessions keep their prices."""
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    with book.writable_ledger(load_settings({}).settings) as ledger:
        gone = ledger.remove_price(number)
    click.echo(
        f"removed price {number}: {gone.amount} for {gone.gpu_count} x {gone.gpu} ({gone.place}) from {gone.day}"
    )


@click.command("import", epilog=_IMPORT_EPILOG)
@click.argument("file", type=click.File("rb"))
@click.option("--provider", metavar="NAME", help="Whose prices a SkyPilot list has.")
@click.option(
    "--from", "since", metavar="DATE", help="When the file's prices were true, where it does not say so itself."
)
@click.option("--encoding", metavar="NAME", help="If it is neither UTF-8 nor marked: latin-1, gb18030, utf-16-le, ...")
@click.option("--skip-bad", is_flag=True, help="Leave out lines that cannot be taken, instead of refusing the file.")
@click.option("--replace", is_flag=True, help="Replace own prices for the same machines from the same instant.")
@click.option("--any-gpu", is_flag=True, help="Take own prices of GPUs that costctl does not know.")
@click.option("--dry-run", is_flag=True, help="Check the file, and write nothing.")
def import_(
    *,
    file: BinaryIO,
    provider: str | None,
    since: str | None,
    encoding: str | None,
    skip_bad: bool,
    replace: bool,
    any_gpu: bool,
    dry_run: bool,
) -> None:
    """Import prices from a CSV file: costctl's own format, or a list of SkyPilot's.

    The lines of costctl's own format (what `prices list --csv` prints) become own prices; it needs the columns gpu,
    currency and per_hour, in any order. A SkyPilot list takes the place of an older one of the same provider, and ranks
    with the catalog: the newer price counts. All lines are checked before any is taken.
    """
    from datetime import UTC, datetime

    from costctl.domain.decoding import decode
    from costctl.domain.pricelists import read_day, read_own_format
    from costctl.domain.skypilot import is_skypilot, read_skypilot
    from costctl.errors import BadValueError
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    models, valid_from = book.gpu_models(), read_day(since) if since else None
    try:
        text = decode(file.read(), encoding)
        listed = is_skypilot(text)
        if listed:
            found = read_skypilot(text, provider=_needed(provider, "--provider"), models=models, since=_day(valid_from))
        else:
            now = datetime.now(UTC).replace(microsecond=0)
            found = read_own_format(text, models=models, since=valid_from or now, any_gpu=any_gpu)
    except BadValueError as error:
        raise BadValueError(f"{file.name}: {error}") from None
    _report(found, file.name, skip_bad=skip_bad)
    if dry_run:
        click.echo(f"{len(found.offers)} prices could be imported; nothing was written")
        return
    with book.writable_ledger(load_settings({}).settings) as ledger:
        if listed:
            gone = ledger.replace_price_lists(found.offers)
            click.echo(f"{len(found.offers)} prices of {provider} imported, in the place of {gone}")
        else:
            ledger.set_prices(found.offers, replace=replace)
            click.echo(f"{len(found.offers)} own prices imported")


@click.command(epilog="\b\nExamples:\n  costctl prices refresh\n  costctl prices refresh --provider aws --provider gcp")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="Only of this provider; repeatable.")
def refresh(*, providers: tuple[str, ...]) -> None:
    """Fetch today's prices through gpuhunt (an extra: pip install 'costctl[gpuhunt]'); needs the network.

    They take the place of those fetched before, and count where they are newer than the catalog's.
    """
    from datetime import UTC, datetime

    from costctl.errors import CostctlError
    from costctl.wiring import load_settings
    from costctl.wiring import prices as book

    found = book.fetch_price_lists(providers, datetime.now(UTC).replace(microsecond=0))
    _say(found.remarks)
    if not found.offers:
        raise CostctlError("gpuhunt has no price of a GPU that costctl knows: nothing was changed")
    with book.writable_ledger(load_settings({}).settings) as ledger:
        gone = ledger.replace_price_lists(found.offers)
    names = ", ".join(sorted({offer.provider or "" for offer in found.offers}))
    click.echo(f"{len(found.offers)} prices of {names} fetched, in the place of {gone}")


def _needed(value: str | None, option: str) -> str:
    from costctl.errors import BadValueError

    if not value:
        raise BadValueError(f"a list of SkyPilot's does not say whose prices it has: give {option}")
    return value


def _day(value: datetime | None) -> datetime:
    from costctl.errors import BadValueError

    if value is None:
        raise BadValueError("a list of SkyPilot's does not say when its prices were true: give --from DATE")
    return value


def _report(found: PriceList, name: str, *, skip_bad: bool) -> None:
    """Say what is left out or wrong; refuse the file if that matters. Raises BadValueError."""
    from costctl.errors import BadValueError

    _say(found.remarks)
    _say_problems(found.problems)
    if found.problems and not skip_bad:
        count = len(found.problems)
        lines = f"{count} line{'s' * (count > 1)}"
        raise BadValueError(
            f"{name}: {lines} cannot be taken, so none was: correct them, or leave them out (--skip-bad)"
        )
    if not found.offers:
        raise BadValueError(f"{name}: there is no price to import in it")


def _say_problems(problems: Sequence[Problem]) -> None:
    _say([str(problem) for problem in problems[:_SHOWN_PROBLEMS]])
    if len(problems) > _SHOWN_PROBLEMS:
        _say([f"and {len(problems) - _SHOWN_PROBLEMS} more"])


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line, err=True)
