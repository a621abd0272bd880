"""The report of a period as a document, as the wiring makes it from the generated year."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.reports.monthly import SECTIONS, report_document
from costctl.reports.periods import read_period
from costctl.reports.wording import Wording
from costctl.wiring.comparison import Wish
from costctl.wiring.reports import load_report

BERLIN = ZoneInfo("Europe/Berlin")
ENGLISH = Wording.of("en")


@pytest.fixture
def load(year_url, tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path))
    monkeypatch.setenv("COSTCTL_LEDGER", year_url)
    monkeypatch.chdir(tmp_path)

    def load(now=datetime(2026, 11, 22, tzinfo=UTC), currency=None, **asked):
        return load_report(read_period(now=now, zone=BERLIN, **asked), now=now, wish=Wish(currency=currency))

    return load


def keys(loaded, **options):
    found = report_document(loaded.report, loaded.studies, ENGLISH, **options)
    return [section.key for section in found.sections]


def test_sections_come_in_the_order_that_is_documented(load, tmp_path):
    (tmp_path / "costctl.toml").write_text(
        """
[[standing]]
name = "disk"
amount-per-month = 31
currency = "CNY"

[[rate]]
from = "CNY"
to = "USD"
rate = "0.14"
date = 2025-01-01
"""
    )
    running = load(now=datetime(2026, 1, 25, 12, tzinfo=UTC), month="2026-01", currency="USD")
    assert keys(running) == list(SECTIONS)


def test_only_the_sections_that_were_asked_for_are_told(load):
    assert keys(load(month="2026-01"), only=("models", "summary")) == ["summary", "models"]


def test_a_section_that_there_is_not_is_refused(load):
    result = CliRunner().invoke(cli, ["report", "--section", "summary,wasted"])
    assert result.exit_code == 2
    assert "'wasted' is no section: there are summary, phases" in result.output


def test_in_one_currency_every_total_is_in_it_and_its_phases_still_add_up(load, tmp_path):
    (tmp_path / "costctl.toml").write_text(
        '[[rate]]\nfrom = "CNY"\nto = "USD"\nrate = "0.1404"\ndate = 2025-01-01\nsource = "made up"'
    )
    own, converted = load(year="2026"), load(year="2026", currency="USD")
    assert [total.currency for total in own.report.totals] == ["CNY", "USD"]
    (total,) = converted.report.totals
    assert sum(total.phase_micros.values()) == total.cost_micros
    by_hand = own.report.totals[0].cost_micros * 0.1404 + own.report.totals[1].cost_micros
    assert abs(total.cost_micros - by_hand) <= len(own.report.rows)
    (use,) = converted.studies.rates
    offers = len(converted.studies.comparison.converted_from)
    assert (use.applied.pair, use.count) == (("CNY", "USD"), own.report.totals[0].session_count + offers)


def test_without_a_rate_totals_stay_in_their_currencies(load):
    assert [total.currency for total in load(year="2026", currency="EUR").report.totals] == ["CNY", "USD"]
