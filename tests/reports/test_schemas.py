"""What costctl prints as JSON is as its schemas say, and what is not is refused."""

import json
from copy import deepcopy
from decimal import Decimal

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from costctl.cli.root import cli
from costctl.domain.rates import AppliedRate, Rate, RateUse
from costctl.reports.periods import read_period
from costctl.reports.rates import rates_object
from costctl.reports.report_json import report_object
from costctl.reports.schemas import schema
from costctl.resources import folder
from costctl.wiring.comparison import Wish
from costctl.wiring.reports import load_report
from tests.reports import golden

MONTHS = [f"{2025 + number // 12}-{number % 12 + 1:02}" for number in range(6, 18)]


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(schema("report-1"))


@pytest.fixture(scope="module")
def home(year_url, tmp_path_factory):
    """A place where costctl knows the generated year, rates, and a standing charge."""
    folder = tmp_path_factory.mktemp("home")
    with golden.alone(folder, year_url, golden.CONFIGURATION):
        yield folder


def report(*, now=golden.NOW, currency=None, baseline=None, **period):
    loaded = load_report(
        read_period(**period, now=now, zone=golden.BERLIN), now=now, wish=Wish(currency=currency, baseline=baseline)
    )
    return json.loads(json.dumps(report_object(loaded.report, loaded.studies)))


@pytest.fixture(scope="module")
def january(home):
    return report(month="2026-01", baseline="A10G always-on at 3.0 CNY/h")


@pytest.mark.parametrize("month", MONTHS)
def test_every_month_is_as_the_schema_says(home, validator, month):
    validator.validate(report(month=month))


def test_what_is_rare_is_as_the_schema_says(home, validator, january):
    assert (january["totals"]["unpriced_sessions"], january["standing"][0]["cost"]) == (1, "36.50")
    assert january["comparison"]["baseline"]["cost"] == "4464.00"  # two machines
    validator.validate(january)
    converted = report(month="2026-02", currency="USD")
    assert [rate["inverse"] for rate in converted["rates"]] == [True, False]
    validator.validate(converted)
    both = report(month="2026-02")
    assert list(both["totals"]["costs"]) == ["CNY", "USD"]
    validator.validate(both)


def test_a_month_that_runs_and_an_empty_one_are_as_the_schema_says(home, validator):
    running = report(month="2026-03", now=golden.NOW.replace(month=3, day=18))
    assert running["forecast"][0]["expected"] is not None
    validator.validate(running)
    empty = report(month="2026-09")
    assert (empty["sessions"], empty["comparison"]) == ([], None)
    validator.validate(empty)


def test_a_small_rate_is_plain_decimal_text(validator, january):
    rate = Rate(base="VND", quote="KWD", amount=Decimal("0.0000001"), dated=golden.NOW.date())
    (found,) = rates_object([RateUse(applied=AppliedRate(rate=rate), count=1)])
    assert found["rate"] == "0.0000001"
    validator.validate(january | {"rates": [found]})


def test_a_plan_is_as_the_schema_says(home):
    asked = ("--model", "Qwen/Qwen3-8B", "--requests-per-day", "1000", "--baseline", "A10G spot")
    result = CliRunner().invoke(cli, ["compare", *asked, "--json"], catch_exceptions=False)
    Draft202012Validator(schema("comparison-1")).validate(json.loads(result.stdout))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "costctl.report/2"),
        (("period", "started_at"), "2026-01-01T00:00:00"),
        (("totals", "costs", "CNY"), 160.106722),
        (("totals", "costs", "yuan"), "160.11"),
        (("totals", "phases", "asleep!"), {"seconds": 1, "costs": {}}),
        (("sessions", 0, "cost"), "2.6830701"),
        (("sessions", 0, "seconds"), -1),
        (("sessions", 0, "hours"), 1.5),
        (("sessions", 0, "end_reason"), "bored"),
        (("sessions", 0, "phases", "busy", "minutes"), 3),
        (("days", 0, "requests"), 1.5),
        (("idle_tails", 0, "tails", 0, "started_at"), "2026-01-13T11:01:25Z"),
        (("hosted", 0, "currency"), None),
        (("comparison", "gpus", 0, "fit"), "maybe"),
        (("comparison", "gpus", 0, "busy_hours"), 3),
        (("comparison", "gpus", 0, "loads", 0, "memory", "weights_bytes"), 3.2),
    ],
)
def test_what_differs_from_the_schema_is_refused(validator, january, path, value):
    changed = deepcopy(january)
    *parents, last = path
    place = changed
    for key in parents:
        place = place[key]
    place[last] = value
    assert not validator.is_valid(changed)


def test_every_key_of_a_report_is_required(validator, january):
    for key in january:
        assert not validator.is_valid({other: value for other, value in january.items() if other != key})


@pytest.mark.parametrize(("command", "name"), [("report", "report-1"), ("compare", "comparison-1")])
def test_a_schema_is_printed_whatever_else_is_asked(command, name):
    printed = json.loads(CliRunner().invoke(cli, [command, "--lang", "en", "--schema", "--json"]).stdout)
    assert printed == schema(name)
    Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize("name", ["report-1", "comparison-1"])
def test_every_key_is_explained(name):
    whole = json.loads((folder("schemas") / f"{name}.json").read_text())
    definitions = whole["$defs"]
    found = {
        key: value.get("description") or definitions[value["$ref"].removeprefix("#/$defs/")]["description"]
        for one in (whole, *definitions.values())
        for key, value in one.get("properties", {}).items()
    }
    assert min(map(len, found.values())) > 3
