"""`costctl billing`, `costctl reconcile` and standing charges in the report, against a real ledger."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.domain.money import parse_price
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.errors import BadValueError
from costctl.ledger.store import Ledger

START = datetime(2026, 1, 30, 14, 20, 10, tzinfo=UTC)


def minutes(number):
    return timedelta(minutes=number)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("COSTCTL_BILLING_RULE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(home):
    with Ledger.open(f"sqlite:///{home / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def sessions(ledger):
    """One of 101 minutes, a short one of 20 seconds, one without a price in which the daemon was down."""
    record(ledger, START, minutes(101), "1.8 CNY/h")
    record(ledger, START + minutes(900), timedelta(seconds=20), "1.8 CNY/h")
    record(ledger, START + minutes(1800), minutes(60), None, last=Phase.UNKNOWN)


def record(ledger, started_at, length, price, *, last=Phase.IDLE, gpu="NVIDIA A10G"):
    instance_id = ledger.register_instance(Instance(machine="box", gpu=gpu, gpu_count=1))
    session_id = ledger.open_session(
        instance_id=instance_id,
        key=started_at.isoformat(),
        started_at=started_at,
        at=started_at,
        price=price and parse_price(price, source="flag", dated=started_at),
        phase=Phase.BUSY,
    )
    ledger.begin_phase(session_id, at=started_at + length / 2, phase=last)
    ledger.close_session(session_id, at=started_at + length, reason=EndReason.IDLE)


def run(*args, code=0):
    result = CliRunner().invoke(cli, args)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code
    return result.stdout


def shown(*args, code=0):
    return [line.rstrip() for line in run(*args, code=code).splitlines()]


def test_a_bill_as_a_table(sessions):
    assert (
        shown("billing", "show", "1", "--rule", "autodl", "--tz", "Asia/Shanghai")
        == """\
session 1: A10G, 2026-01-30 22:20:10 to 2026-01-31 00:01:10 (Asia/Shanghai)
rule autodl: by the second; settled at each full hour in Asia/Shanghai and at the end; rounded up to 0.01; at least 0.01
a charge

from            to              seconds   CNY  why
----------------------------------------------------------------------------------------------------------------
01-30 22:20:10  23:00:00           2390  1.20  at 1.80 CNY/h; settled at the full hour; 1.195 rounded up to 1.20
01-30 23:00:00  01-31 00:00:00     3600  1.80  at 1.80 CNY/h; settled at the full hour
01-31 00:00:00  00:01:10             70  0.04  at 1.80 CNY/h; settled at the end; 0.035 rounded up to 0.04
----------------------------------------------------------------------------------------------------------------
                                   6060  3.04

used    1h41m, worth 3.03 CNY by the exact time
billed  3.04 CNY, 0.01 more than was used
phases  busy 1.52, idle 1.52
uncertain: from the ledgers of two tools, not from AutoDL itself
""".splitlines()
    )


def test_a_bill_as_json_adds_up(sessions):
    bill = json.loads(run("billing", "show", "2", "--rule", "azure-vm", "--released", "2026-01-31T05:21:00", "--json"))
    assert (bill["schema"], bill["rule"]["name"], bill["currency"]) == ("costctl.bill/1", "azure-vm", "CNY")
    assert (bill["total"], bill["used"], bill["beyond_use"]) == ("0.15", "0.01", "0.14")  # 300 s, 20 s at 0.0005
    assert sum(Decimal(line["amount"]) for line in bill["lines"]) == Decimal(bill["total"])
    phases = sum(Decimal(amount) for amount in bill["phases"].values())
    assert phases + Decimal(bill["after_the_stop"]) == Decimal(bill["total"])
    assert bill["stopped_until"] == "2026-01-31T05:21:00+00:00"


def test_the_newest_session_is_the_default_and_a_price_can_be_given(sessions):
    with pytest.raises(BadValueError, match="the price of session 3 is unknown: give one with --price"):
        run("billing", "show")
    assert json.loads(run("billing", "show", "--price", "2 USD/h", "--json"))["total"] == "2.00"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["billing", "show", "9"], "the ledger has no session 9"),
        (["billing", "show", "1", "--rule", "autodll"], "did you mean 'autodl'"),
        (["billing", "show", "1", "--released", "2026-01-30T15:00"], "session 1 had not ended by then"),
        (["billing", "rules", "nope"], "there is no billing rule 'nope'"),
        (["reconcile", "none.csv"], "cannot read the invoice none.csv"),
    ],
)
def test_bad_values_are_explained(sessions, args, words):
    with pytest.raises(BadValueError) as caught:
        run(*args)
    assert words in str(caught.value)


def test_a_ledger_without_sessions(ledger):
    with pytest.raises(BadValueError, match="the ledger has no session yet"):
        run("billing", "show")


def test_rules_are_listed_with_what_is_uncertain(home):
    lines = shown("billing", "rules")
    assert "gcp-gce            by the second; at least 1m from each start" in lines
    assert "runpod-pod         by the second (?)" in lines
    one = run("billing", "rules", "runpod-pod")
    assert "RunPod's pages disagree" in one
    assert "runpod/docs@a900806" in one
    rules = json.loads(run("billing", "rules", "--json"))["rules"]
    assert {rule["name"]: rule["minimum_s"] for rule in rules}["azure-vm"] == 300


def test_a_chosen_rule_makes_report_and_sessions_what_the_provider_bills(home, sessions):
    (home / "costctl.toml").write_text('billing-rule = "autodl"\n')
    report = json.loads(run("report", "--month", "2026-01", "--json"))
    long, short, _ = report["sessions"]
    assert (long["cost"], long["billing_rule"], short["cost"]) == ("3.04", "autodl", "0.01")
    for row in (long, short):
        assert sum(Decimal(phase["cost"]) for phase in row["phases"].values()) == Decimal(row["cost"])
    assert json.loads(run("sessions", "--json"))[0]["cost"] == "3.04"
    assert "Billed by the rule of autodl" in run("report", "--month", "2026-01")


def test_standing_charges_have_lines_of_their_own(home, sessions):
    (home / "costctl.toml").write_text(
        """
[[standing]]
name = "=disk"
amount-per-month = 31
currency = "CNY"
from = 2026-01-30

[[standing]]
name = "address"
amount-per-month = 3.1
currency = "USD"
"""
    )
    report = json.loads(run("report", "--month", "2026-01", "--json"))
    assert [(charge["name"], charge["cost"]) for charge in report["standing"]] == [
        ("=disk", "2.00"),
        ("address", "3.10"),
    ]
    assert report["totals"]["costs_with_standing"] == {"CNY": "5.04", "USD": "3.10"}
    assert report["totals"]["costs"] == {"CNY": "3.04"}
    text = run("report", "--month", "2026-01")
    assert "=disk            31.00 CNY/month        2.00 CNY" in text
    assert re.search(r"with standing charges +5\.04 CNY\nwith standing charges +3\.10 USD\n", text)
    assert "address" in run("report", "--month", "2025-12")


def test_a_name_that_is_a_formula_is_text_in_csv(ledger):
    record(ledger, START, minutes(10), "1.8 CNY/h", gpu="=cmd|' /C calc'!A0")
    (row,) = csv.DictReader(io.StringIO(run("report", "--month", "2026-01", "--csv")))
    assert row["gpu"] == "'=cmd|' /C calc'!A0"


INVOICE = """start,end,amount,currency
2026-01-30T14:20:00Z,2026-01-30T16:01:12Z,3.04,CNY
2026-01-31T05:20:00Z,2026-01-31T05:21:00Z,0.01,CNY
"""


def test_an_invoice_that_agrees(home, sessions):
    (home / "invoice.csv").write_text(INVOICE)
    assert (
        shown("reconcile", "invoice.csv", "--rule", "autodl", "--tolerance", "0")
        == """\
invoice.csv: a plain file, 2026-01-30 14:20 to 2026-01-31 05:21 (UTC)

session  started           ended               ledger   invoice       drift
---------------------------------------------------------------------------
1        2026-01-30 14:20  2026-01-30 16:01  3.04 CNY  3.04 CNY  0.00 +0.0%
2        2026-01-31 05:20  2026-01-31 05:20  0.01 CNY  0.01 CNY  0.00 +0.0%

CNY: ledger 3.05, invoice 3.05, drift 0.00 (+0.0%)
Ledger and invoice agree (to 0 %, or 0.01).
""".splitlines()
    )


def test_an_invoice_that_does_not_agree_exits_with_1(home, sessions):
    (home / "invoice.csv").write_text(
        INVOICE.replace("3.04", "3.50")
        + "2026-01-31T09:00:00Z,2026-01-31T09:30:00Z,0.90,CNY\n2026-01-31T20:00:00Z,2026-01-31T22:00:00Z,4.00,USD\n"
    )
    text = run("reconcile", "invoice.csv", code=1)
    assert "+0.47 +15.5%  differs" in text
    assert "   4  2026-01-31 09:00  2026-01-31 09:30  0.90 CNY" in text
    assert "price unknown" in text
    assert "3        2026-01-31 20:50  2026-01-31 21:20     30m  unknown" in text
    assert "USD: ledger 0.00, invoice 4.00, drift +4.00; 1 session of unknown price" in text
    document = json.loads(run("reconcile", "invoice.csv", "--json", code=1))
    assert (document["schema"], document["agrees"]) == ("costctl.reconciliation/1", False)
    assert [row["drift"] for row in document["sessions"]] == ["0.47", "0.00", None]
    assert [line["amount"] for line in document["only_invoice"]] == ["0.90"]
    assert [(gap["session"], gap["seconds"]) for gap in document["gaps"]] == [(3, 1800)]
    assert [(total["currency"], total["drift"]) for total in document["totals"]] == [("CNY", "1.37"), ("USD", "4.00")]


def test_one_machine_of_an_invoice(home, sessions):
    header, first, second = INVOICE.splitlines()
    (home / "invoice.csv").write_text(f"{header},resource\n{first},i-1\n{second},i-2\n")
    document = json.loads(run("reconcile", "invoice.csv", "--resource", "i-1", "--json"))
    assert [row["id"] for row in document["sessions"]] == [1]
    with pytest.raises(BadValueError, match="no line for 'i-3'; it names i-1, i-2"):
        run("reconcile", "invoice.csv", "--resource", "i-3")


def test_the_ledger_is_silent_about_the_time_of_the_invoice(home, sessions):
    (home / "invoice.csv").write_text(INVOICE.replace("2026", "2025"))
    assert "the ledger has no session in this time" in run("reconcile", "invoice.csv", code=1)
