"""`costctl report`: what a period cost, and what its hours were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costctl.cli.collector import collector_paused
from costctl.cli.schema import schema_option

if TYPE_CHECKING:
    from costctl.ports import Notifier
    from costctl.reports.wording import Wording
    from costctl.wiring.report_forms import Form
    from costctl.wiring.reports import Loaded

_FORMS = ("text", "markdown", "html", "xlsx", "json", "csv")
_SUFFIXES = {".txt": "text", ".md": "markdown", ".html": "html", ".xlsx": "xlsx", ".json": "json", ".csv": "csv"}
_EPILOG = """\b
Examples:
  costctl report                                  the month so far
  costctl report --month 2026-01                  January
  costctl report --last 30d --tz Asia/Shanghai --lang zh
  costctl report --from 2026-01-05 --to 2026-01-18
  costctl report --month 2026-01 -o january.html  the page with charts; also .xlsx, .md, .csv, .json
  costctl report --section summary,comparison --gpus L4,A100-40GB --baseline 'A10G always-on'
  costctl report --json | jq .totals.costs
  costctl report --schema                         what the keys of --json mean
"""


@click.command(epilog=_EPILOG)
@click.option("--month", metavar="YYYY-MM", help="The month; the present one if no period is given.")
@click.option("--week", metavar="YYYY-Www", help="An ISO week, Monday to Sunday, like 2026-W03.")
@click.option("--year", metavar="YYYY", help="A whole year.")
@click.option("--from", "since", metavar="DATE", help="From the beginning of this day, or from this time.")
@click.option("--to", "until", metavar="DATE", help="To the end of this day, or to this time; else to now.")
@click.option("--last", metavar="DURATION", help="Exactly so long before now, like 30d.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone of its days; else as configured, or this machine's.")
@click.option("--currency", metavar="CODE", help="All in this currency, by the [[rate]] tables of the configuration.")
@click.option("--gpus", metavar="NAMES", help="GPUs to compare with, commas between.  [default: T4,L4,A10G]")
@click.option("--baseline", metavar="TEXT", help="Compare with 'GPU [always-on|as-run] [spot] [at 3.0 CNY/h]' too.")
@click.option(
    "--section", "sections", metavar="NAMES", help="Only these sections, commas between: summary,sessions,comparison."
)
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language; else the one of the environment.")
@click.option("--format", "form", type=click.Choice(_FORMS), help="Form; else by the name of the file, or text.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--csv", "form", flag_value="csv", help="A row per session with all figures; --format csv.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--send", is_flag=True, help="Send it to all targets of the configuration, instead of printing it.")
@click.option("--send-to", metavar="NAME", multiple=True, help="Send it to this target; may be given more than once.")
@schema_option("report-1")
@collector_paused()
def report(
    *,
    zone_name: str | None,
    currency: str | None,
    gpus: str | None,
    baseline: str | None,
    sections: str | None,
    lang: str | None,
    form: str | None,
    output: Path | None,
    send: bool,
    send_to: tuple[str, ...],
    **asked: Any,
) -> None:
    """Print what a period cost, what its hours were, and what could have been saved.

    A session that spans the edge of the period counts with the part that is in it. The price is the one that each
    session began with; where none was known, the time is counted and the cost is said to be unknown. Seconds become
    money by the billing rule of the provider (`costctl billing rules`); standing charges have lines of their own.
    """
    import os  # commands import late, so that each starts fast
    from datetime import UTC, datetime

    from costctl.domain.currencies import read_currency
    from costctl.reports.periods import read_period
    from costctl.reports.wording import Wording, language_of
    from costctl.wiring import load_zone
    from costctl.wiring.comparison import Wish, listed_gpus
    from costctl.wiring.report_forms import Form, message_of
    from costctl.wiring.reports import load_report

    now = datetime.now(UTC)
    period = read_period(**asked, now=now, zone=load_zone(zone_name))
    words = Wording.of(lang or language_of(os.environ))
    asked_form, only = Form(form or _form_of(output)), _sections(sections)
    notifier = _notifier(send_to) if send or send_to else None
    wish = Wish(gpus=listed_gpus(gpus), baseline=baseline, currency=read_currency(currency) if currency else None)
    loaded = load_report(period, now=now, wish=wish)
    if notifier:
        notifier.send(message_of(loaded, words))
        click.echo(f"sent: {period.label}", err=True)
    if output or not notifier:
        _write(loaded, asked_form, words, output, only)


def _notifier(names: tuple[str, ...]) -> Notifier:
    from costctl.wiring.notifications import load_notifier

    return load_notifier(names)


def _form_of(output: Path | None) -> str:
    if output is None:
        return "text"
    if output.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"{output.name}: give it a known ending ({', '.join(_SUFFIXES)}), or say --format")
    return _SUFFIXES[output.suffix.lower()]


def _sections(text: str | None) -> tuple[str, ...]:
    from costctl.reports.monthly import SECTIONS

    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    unknown = [name for name in names if name not in SECTIONS]
    if unknown or (text is not None and not names):
        raise click.UsageError(f"{unknown[0] if unknown else text!r} is no section: there are {', '.join(SECTIONS)}")
    return names


def _write(loaded: Loaded, form: Form, words: Wording, output: Path | None, only: tuple[str, ...]) -> None:
    from costctl.wiring.report_forms import Form, print_report, write_report, written

    if output is not None:
        write_report(loaded, form, words, output, only)
        click.echo(f"wrote {output}", err=True)
    elif form is Form.XLSX:
        raise click.UsageError("a spreadsheet needs a file: say -o report.xlsx")
    elif form is Form.TEXT:
        print_report(loaded, words, only=only)
    else:
        click.echo(written(loaded, form, words, only), nl=False)
