"""`[billing.NAME]` and `[[standing]]` in costctl.toml, and what is said of mistakes in them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from costctl.config.billing import read_billing
from costctl.config.resolve import resolve
from costctl.config.tables import line_of, read_toml
from costctl.domain.rules import EXACT, named_rule, rule_for
from costctl.domain.sessions import Instance
from costctl.domain.standing import When
from costctl.errors import BadValueError

CHARGE = "[[standing]]\nname = 'x'\namount-per-month = 1\ncurrency = 'USD'\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read_text(text):
        (tmp_path / "costctl.toml").write_text(text, encoding="utf-8")
        return read_billing(resolve(flags={}, environ={}, now=datetime.now(UTC)).file)

    return read_text


def test_every_rule_that_ships_has_evidence():
    rules = read_billing(None).rules
    assert len(rules) == 17
    for rule in rules.values():
        assert rule.evidence.title
        assert rule.evidence.sources or rule is EXACT
    assert "RunPod's pages disagree" in rules["runpod-pod"].evidence.doubt
    assert "one source" in rules["azure-vm"].evidence.doubt


def test_a_rule_is_changed_key_by_key(read):
    rules = read("[billing.azure-vm]\nminimum-s = 60\n").rules
    assert (rules["azure-vm"].minimum, rules["azure-vm"].bills_stopped) == (timedelta(seconds=60), True)
    assert rules["azure-vm"].evidence.changed_at == "costctl.toml line 1, billing.azure-vm"
    assert rules["aws-spot"].evidence.changed_at == ""


def test_a_new_rule_from_nothing_and_from_another(read):
    rules = read(
        """
[billing.mine]
increment-s = 0.5
settles-in = "Europe/Berlin"
round-up = true
quantum = "0.01"
[billing.theirs]
like = "azure-vm"
bills-stopped = false
"""
    ).rules
    assert rules["mine"].increment == timedelta(milliseconds=500)
    assert rules["mine"].settles_in == ZoneInfo("Europe/Berlin")
    assert (rules["mine"].rounding.quantum_micros, rules["mine"].rounding.up) == (10_000, True)
    assert (rules["theirs"].minimum, rules["theirs"].bills_stopped) == (timedelta(seconds=300), False)
    assert rules["theirs"].providers == ()  # it is chosen by name only


def test_standing_charges(read):
    disk, volume = read(
        """
[[standing]]
name = "disk 100 GB"
amount-per-month = 70.55
currency = "cny"
from = 2026-01-15
until = 2026-06-01T00:00:00+08:00

[[standing]]
name = "volume, stopped"
amount-per-month = "20"
currency = "USD"
while = "off"
"""
    ).standing
    assert (disk.name, disk.micros_per_month, disk.currency, disk.when) == ("disk 100 GB", 70_550_000, "CNY", "always")
    assert (disk.begins, disk.ends) == (date(2026, 1, 15), datetime(2026, 5, 31, 16, tzinfo=UTC))
    assert (volume.micros_per_month, volume.when) == (20_000_000, When.OFF)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[billing.azure-vm]\n\nminimum = 60",
            "costctl.toml line 3, billing.azure-vm.minimum: unknown key; did you mean",
        ),
        ("[billing.azure-vm]\nwibble = 60", "unknown key; known are like, increment-s, minimum-s"),
        ("[billing.azure-vm]\nminimum-s = -1", "costctl.toml line 2, billing.azure-vm.minimum-s: -1 is not a number"),
        ("[billing.azure-vm]\nminimum-s = true", "True is not a number of seconds"),
        ("[billing.azure-vm]\nminimum-s = nan", "nan is not a number of seconds"),
        ("[billing.autodl]\nquantum = '0.0000001'", "line 2, billing.autodl.quantum: the amount '0.0000001' has more"),
        ("[billing.autodl]\nquantum = 0", "line 1, billing.autodl: the smallest amount that is charged"),
        ("[billing.autodl]\nsettles-in = 'Mars'", "line 2, billing.autodl.settles-in: 'Mars' is not a time zone"),
        ("[billing.autodl]\nprepaid = true", "line 1, billing.autodl: what is paid in advance is paid by the minute"),
        ("[billing.autodl]\nproviders = 'autodl'", "'autodl' is not a list of texts"),
        ("[billing.x]\nlike = 'nothing'", "costctl.toml line 2, billing.x.like: there is no rule 'nothing'"),
        ("billing = 3", "costctl.toml line 1, billing: 3 is not a table; write [billing] and its keys below"),
        ("[billing]\nazure-vm = 60", "costctl.toml line 2, billing.azure-vm: 60 is not a table"),
        ("standing = 3", "costctl.toml line 1, standing: write it as [[standing]]"),
        ("[standing]\nname = 'x'", "line 1, standing: write it as [[standing]]"),
        ("[[standing]]\nname = 'x'", "costctl.toml line 1, standing: 'amount-per-month' is missing"),
        ("[[standing]]\nname = 'x'\namount-per-month = 1", "'currency' is missing"),
        (
            CHARGE + CHARGE.replace("= 1", "= -1"),
            "costctl.toml line 7, standing.amount-per-month: -1 is less than nothing",
        ),
        ("[[standing]]\nname = 'x'\namount-per-month = 'NaN'\ncurrency = 'USD'", "'NaN' is not an amount"),
        ("[[standing]]\nname = 'x'\namount-per-month = 1\ncurrency = 'dollars'", "'dollars' is not a currency"),
        (CHARGE + "from = '2026'", "is not a date: write it like 2026-01-31, without"),
        (CHARGE + "from = 2026-01-01T00:00:00", "has no time zone"),
        (CHARGE + "while = 'up'", "'up' is none of always, on, off"),
        (
            CHARGE + "from = 2026-02-01\nuntil = 2026-01-01",
            "costctl.toml line 1, standing: the standing charge 'x' ends",
        ),
        ("[biling.x]\nminimum-s = 1", "costctl.toml line 1, biling: unknown key; did you mean 'billing'?"),
    ],
)
def test_mistakes_are_said_with_their_line_and_key(read, text, words):
    with pytest.raises(BadValueError) as caught:
        read(text)
    assert words in str(caught.value)


def test_a_rule_is_found_by_name_then_provider_and_market_then_exact():
    rules = read_billing(None).rules
    assert rule_for(Instance(machine="x", provider="aws"), rules).name == "aws-ec2-linux"
    assert rule_for(Instance(machine="x", provider="aws", market="spot"), rules).name == "aws-spot"
    assert rule_for(Instance(machine="x", provider="unheard"), rules) is EXACT
    assert rule_for(Instance(machine="x"), rules) is EXACT
    assert rule_for(Instance(machine="x", provider="aws"), rules, "autodl").name == "autodl"
    with pytest.raises(BadValueError, match=r"no billing rule 'autodll'.*did you mean 'autodl'"):
        named_rule("autodll", rules)


def test_lines_of_keys():
    text = "a.b = 1\n\n['c d']\n\"e\" = 2\n[[f]]\ng = 1\n[[f]]\nh = 1\n"
    keys = [("a", "b"), ("c d",), ("c d", "e"), ("f", 0, "g"), ("f", 1), ("f", 1, "h"), ("f", 1, "none"), ("none",)]
    assert [line_of(text, key) for key in keys] == [1, 3, 4, 6, 7, 8, 7, 1]


def test_a_toml_file_that_cannot_be_read(tmp_path):
    with pytest.raises(BadValueError, match=r"cannot read .*nothing.toml: No such file"):
        read_toml(tmp_path / "nothing.toml")
