"""`costctl report` and `costctl sessions` against a real ledger in a home of their own."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.domain.money import parse_price
from costctl.domain.periods import PeriodKind, calendar_period
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.errors import BadValueError, LedgerError
from costctl.ledger.store import Ledger
from costctl.reports.wording import Wording
from costctl.wiring.comparison import Wish
from costctl.wiring.report_forms import Form, written
from costctl.wiring.reports import load_report

JANUARY = datetime(2026, 1, 30, 14, tzinfo=UTC)
HEAVY = ("sqlalchemy", "alembic", "rich", "aiohttp", "psutil", "pynvml")


def minutes(number):
    return timedelta(minutes=number)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(home):
    with Ledger.open(f"sqlite:///{home / 'ledger.db'}") as opened:
        yield opened


def record(ledger, started_at, length, *, price=None, end=EndReason.IDLE, gpu="NVIDIA A10G", gpu_count=1):
    instance_id = ledger.register_instance(Instance(machine="box", gpu=gpu, gpu_count=gpu_count))
    session_id = ledger.open_session(
        instance_id=instance_id,
        key=started_at.isoformat(),
        started_at=started_at,
        at=started_at,
        price=price and parse_price(price, source="flag", dated=started_at),
        phase=Phase.OFF,
    )
    ledger.begin_phase(session_id, at=started_at + length / 10, phase=Phase.STARTING)
    ledger.begin_phase(session_id, at=started_at + length / 5, phase=Phase.BUSY)
    ledger.begin_phase(session_id, at=started_at + length / 2, phase=Phase.IDLE)
    ledger.heartbeat(session_id, started_at + length)
    if end:
        ledger.close_session(session_id, at=started_at + length, reason=end)


@pytest.fixture
def january(ledger):
    """Three sessions: a plain one, one without a price, and a large one that goes on into February."""
    record(ledger, JANUARY, minutes(50), price="1.8 CNY/h")
    record(ledger, JANUARY + minutes(900), minutes(20))
    record(ledger, JANUARY + minutes(1800), minutes(600), price="12.25 USD/h", gpu="NVIDIA H100 80GB HBM3", gpu_count=8)


def shown(*args):
    """What a command prints, without the blanks that fill its tables."""
    return [line.rstrip() for line in run(*args).stdout.splitlines()]


def run(*args):
    result = CliRunner().invoke(cli, args)
    if result.exception:
        raise result.exception
    return result


def test_a_month_as_a_table(january):
    lines = shown("report", "--month", "2026-01", "--lang", "en")
    assert (
        lines[: lines.index("By model")]
        == """\
GPU cost, 2026-01
times in UTC

In short
total       1.50 CNY
total      49.00 USD
time up    310.0 min  3 sessions
requests           0  0 tokens, 0 of them generated
waste     0.9000 CNY  60.0% of the bill
waste      12.25 USD  25.0% of the bill

Waste is what was paid while nothing was answered: starting, idle, unknown.
1 session of unknown price (20m) is in no sum of money.
Say what an hour costs with `costctl serve --price '1.8 CNY/h'` or in the configuration.

Where the hours went
phase     minutes  share  cost, CNY  cost, USD
----------------------------------------------
starting     67.0  21.6%       0.15      12.25
busy        141.0  45.5%       0.45      24.50
idle         35.0  11.3%       0.75       0.00
off          67.0  21.6%       0.15      12.25
----------------------------------------------
all         310.0              1.50      49.00

By day
day         minutes   busy  waste  requests  tokens  cost, CNY  cost, USD
-------------------------------------------------------------------------
2026-01-30     50.0   15.0   30.0         0       0       1.50       0.00
2026-01-31    260.0  126.0   72.0         0       0       0.00      49.00
-------------------------------------------------------------------------
all           310.0  141.0  102.0         0       0       1.50      49.00

Sessions
started      ended        minutes  GPU                      price  cost, CNY  cost, USD  starting   busy  idle  end
--------------------------------------------------------------------------------------------------------------------
01-30 14:00  01-30 14:50     50.0  A10G                1.80 CNY/h       1.50                  5.0   15.0  25.0  idle
01-31 05:00  01-31 05:20     20.0  A10G                   unknown    unknown    unknown       2.0    6.0  10.0  idle
01-31 20:00  02-01 00:00    240.0  8x H100 80GB HBM3  12.25 USD/h                 49.00      60.0  120.0   0.0  >
--------------------------------------------------------------------------------------------------------------------
all                         310.0                                       1.50      49.00      67.0  141.0  35.0

< began before this period, > went on after it: only the part in the period is counted.

""".splitlines()
    )


def test_json_has_a_line_for_each_session(january):
    text = run("report", "--month", "2026-01", "--json").stdout
    lines = [json.loads(line.strip().rstrip(",")) for line in text.splitlines() if line.startswith('    {"id": ')]
    assert lines == json.loads(text)["sessions"]
    assert len(lines) == 3


def test_a_month_as_json_adds_up(january):
    report = json.loads(run("report", "--month", "2026-01", "--json").stdout)
    period = report["period"]
    assert (report["schema"], period["label"], period["time_zone"]) == ("costctl.report/1", "2026-01", "UTC")
    plain, unpriced, large = report["sessions"]
    assert plain["started_at"] == "2026-01-30T14:00:00+00:00"
    assert (plain["minutes"], plain["price_per_hour"], plain["currency"], plain["cost"]) == (50, "1.80", "CNY", "1.50")
    assert (unpriced["cost"], unpriced["currency"], unpriced["phases"]["busy"]["cost"]) == (None, None, None)
    assert (large["ended_at"], large["went_on_after"]) == ("2026-02-01T00:00:00+00:00", True)
    for session in (plain, large):
        assert sum(Decimal(phase["cost"]) for phase in session["phases"].values()) == Decimal(session["cost"])
    totals = report["totals"]
    assert (totals["sessions"], totals["seconds"]) == (3, 18_600)
    assert sum(phase["seconds"] for phase in totals["phases"].values()) == 18_600
    assert totals["costs"] == {"CNY": "1.50", "USD": "49.00"}
    assert [total["cost"] for total in totals["currencies"]] == ["1.50", "49.00"]
    assert (totals["unpriced_sessions"], totals["unpriced_seconds"]) == (1, 1200)


def test_a_month_as_csv_in_another_zone(january):
    text = run("report", "--month", "2026-01", "--csv", "--tz", "Asia/Shanghai").stdout
    plain, unpriced = csv.DictReader(io.StringIO(text))  # the third began in February there
    assert (plain["started_at"], plain["cost"], plain["open"]) == ("2026-01-30T22:00:00+08:00", "1.50", "no")
    assert (plain["busy_seconds"], plain["busy_cost"], plain["asleep_cost"]) == ("900.0", "0.45", "")
    assert (unpriced["busy_seconds"], unpriced["busy_cost"], unpriced["cost"]) == ("360.0", "", "")


def test_the_time_zone_is_a_setting_that_an_option_overrides(home, january, monkeypatch):
    (home / "costctl.toml").write_text('time-zone = "Asia/Shanghai"')
    assert shown("sessions")[-1] == "times in Asia/Shanghai"
    assert json.loads(run("report", "--month", "2026-01", "--json").stdout)["period"]["time_zone"] == "Asia/Shanghai"
    monkeypatch.setenv("COSTCTL_TIME_ZONE", "Asia/Kolkata")
    assert shown("sessions")[-1] == "times in Asia/Kolkata"
    assert shown("sessions", "--tz", "UTC")[-1] == "times in UTC"


def test_an_empty_month_says_so_and_when_there_was_something(january):
    assert shown("report", "--month", "2025-03")[3:] == [
        "In short",
        "No session lies in 2025-03.",
        "",
        "The newest session began on 2026-01-31.",
    ]
    assert run("report", "--month", "2025-03", "--csv").stdout.count("\n") == 1
    assert json.loads(run("report", "--month", "2025-03", "--json").stdout)["sessions"] == []


def test_an_empty_ledger(ledger):
    assert shown("report", "--month", "2026-01")[-1] == "No session lies in 2026-01."
    assert run("sessions").stdout == "no sessions\n"
    assert json.loads(run("sessions", "--json").stdout) == []


def test_the_present_month_is_the_default(ledger):
    now = datetime.now(UTC)
    record(ledger, now - minutes(1), minutes(1), price="0.5 USD/h", end=None)
    report = json.loads(run("report", "--json").stdout)
    assert report["period"]["label"] in {f"{now:%Y-%m}", f"{datetime.now(UTC):%Y-%m}"}
    assert report["sessions"][-1]["open"] is True


def test_sessions_as_a_table(ledger, january):
    record(ledger, JANUARY + minutes(9000), minutes(7), price="1.8 CNY/h", end=None)
    assert (
        shown("sessions")
        == """\
started           ended        GPU                      price        cost  end
-------------------------------------------------------------------------------
2026-01-30 14:00  14:50        A10G                1.80 CNY/h    1.50 CNY  idle
2026-01-31 05:00  05:20        A10G                   unknown     unknown  idle
2026-01-31 20:00  02-01 06:00  8x H100 80GB HBM3  12.25 USD/h  122.50 USD  idle
2026-02-05 20:00               A10G                1.80 CNY/h  0.2100 CNY  open
times in UTC
""".splitlines()
    )


def test_sessions_as_json_keep_their_contract(january):
    plain, unpriced, _ = json.loads(run("sessions", "--json").stdout)
    assert plain | {"phases": None} == {
        "id": 1,
        "machine": "box",
        "started_at": "2026-01-30T14:00:00Z",
        "ended_at": "2026-01-30T14:50:00Z",
        "known_until": "2026-01-30T14:50:00Z",
        "open": False,
        "end_reason": "idle",
        "minutes": 50.0,
        "gpu": "NVIDIA A10G",
        "gpu_count": 1,
        "price_per_hour": "1.80",
        "currency": "CNY",
        "price_source": "flag",
        "cost": "1.50",
        "billing_rule": None,
        "phases": None,
    }
    assert plain["phases"][1] == {
        "phase": "starting",
        "started_at": "2026-01-30T14:05:00Z",
        "ended_at": "2026-01-30T14:10:00Z",
        "seconds": 300.0,
        "cost": "0.15",
        "run": None,
    }
    assert sum(Decimal(phase["cost"]) for phase in plain["phases"]) == Decimal(plain["cost"])
    assert (unpriced["cost"], unpriced["price_per_hour"]) == (None, None)


def test_sessions_can_be_narrowed(january):
    assert [session["id"] for session in json.loads(run("sessions", "--json", "--since", "2026-01-31").stdout)] == [
        2,
        3,
    ]
    assert [session["id"] for session in json.loads(run("sessions", "--json", "--since", "2020-01-01").stdout)] == [
        1,
        2,
        3,
    ]
    limited = run("sessions", "--json", "--limit", "1")
    assert [session["id"] for session in json.loads(limited.stdout)] == [3]
    assert limited.stderr == "the newest 1 are shown; more with --limit\n"


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (["report", "--month", "2026-13"], BadValueError, "'2026-13' is not a month"),
        (["report", "--month", "2125-01"], BadValueError, "2125-01 has not begun: the newest month is 20"),
        (["report", "--tz", "Mars"], BadValueError, "'Mars' is not a time zone"),
        (["report", "--tz", ""], BadValueError, "'' is not a time zone"),
        (["sessions", "--since", "soon"], BadValueError, "'soon' is not a point in time"),
    ],
)
def test_bad_values_are_explained(ledger, args, error, words):
    with pytest.raises(error, match=words):
        run(*args)


def test_the_report_compares_in_the_currency_that_was_asked_for(january, home):
    (home / "costctl.toml").write_text('[[rate]]\nfrom = "USD"\nto = "CNY"\nrate = "7"\ndate = 2026-01-01\n')
    found = json.loads(run("report", "--month", "2026-01", "--gpus", "L4", "--currency", "CNY", "--json").stdout)
    on_demand, spot = found["comparison"]["gpus"][0]["markets"]
    assert [(market["currency"], market["converted_from"]) for market in (on_demand, spot)] == [
        ("CNY", None),
        ("CNY", "USD"),
    ]
    assert [part["currency"] for part in found["comparison"]["spent"]] == ["CNY", "CNY"]
    assert [(rate["rate"], rate["used"]) for rate in found["rates"]] == [("7", 2)]  # a session and an offer


def test_a_report_whose_comparison_cannot_be_made_says_why(january):
    period, now = calendar_period(PeriodKind.MONTH, JANUARY.date(), ZoneInfo("UTC")), datetime.now(UTC)
    loaded = load_report(period, now=now, wish=Wish(provider="nobody"))
    assert (
        "There is no comparison: no price at the provider 'nobody'"
        in written(loaded, Form.MARKDOWN, Wording.of("en")).decode()
    )
    assert "'nobody'" in json.loads(written(loaded, Form.JSON, Wording.of("en")))["comparison_error"]


@pytest.mark.parametrize("option", [("--gpus", "T9"), ("--baseline", "A10G sometimes")])
def test_what_is_asked_of_a_reports_comparison_has_to_exist(january, option):
    with pytest.raises(BadValueError, match=option[1].split()[0]):
        run("report", "--month", "2026-01", *option)


@pytest.mark.parametrize("command", ["report", "sessions"])
def test_without_a_ledger_nothing_is_made(home, command):
    with pytest.raises(LedgerError, match="it is made by the first `costctl serve`"):
        run(command)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("command", ["report", "sessions"])
def test_help_shows_examples_and_loads_nothing_heavy(command):
    code = f"""
import sys
from costctl.cli.root import cli
try:
    cli(["{command}", "--help"])
finally:
    print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"Examples:\n    costctl {command}" in shown
    assert shown.endswith("[]\n")
