"""Each provider's rule as it ships, worked by hand: what a power-on costs, with the arithmetic beside it."""

from datetime import UTC, datetime, timedelta

import pytest

from costctl.config.billing import read_billing
from costctl.domain.billing import PowerOn, PriceSegment, bill
from costctl.domain.money import format_amount, parse_price

RULES = read_billing(None).rules
START = datetime(2026, 1, 30, 14, 20, 10, tzinfo=UTC)  # 22:20:10 in Shanghai


def price(text):
    return parse_price(text, source="by hand", dated=START)


def billed(rule, text, seconds, *, start=START, released_after=None):
    released = None if released_after is None else start + timedelta(seconds=released_after)
    return bill(PowerOn.at(price(text), start, start + timedelta(seconds=seconds), released), RULES[rule])


@pytest.mark.parametrize(
    ("rule", "text", "seconds", "billed_s", "amount"),
    [
        # 60 s at least from each start: 0.526 x 60 / 3600 = 0.0087666.. -> 0.008767
        ("aws-ec2-linux", "0.526 USD/h", 20, 60, "0.008767"),
        # past the minute by the second: 0.526 x 61 / 3600 = 0.00891277.. -> 0.008913
        ("aws-ec2-linux", "0.526 USD/h", 61, 61, "0.008913"),
        ("aws-spot", "0.20 USD/h", 1, 60, "0.003333"),  # 0.2 / 60 = 0.00333..
        # a begun second counts: 91 s. 0.7068 x 91 / 3600 = 0.01786633.. -> 0.017866
        ("gcp-gce", "0.7068 USD/h", 90.25, 91, "0.017866"),
        # 300 s at least: 0.526 x 300 / 3600 = 0.0438333.. -> 0.043833
        ("azure-vm", "0.526 USD/h", 20, 300, "0.043833"),
        ("azure-vm", "0.526 USD/h", 3600, 3600, "0.526"),
        # whole minutes: 61 s are 2 min. 1.29 / 30 = 0.043
        ("lambda", "1.29 USD/h", 61, 120, "0.043"),
        ("lambda", "1.29 USD/h", 60, 60, "0.0215"),  # 1.29 / 60
        # by the second: 0.49 x 91 / 3600 = 0.01238611.. -> 0.012386
        ("runpod-pod", "0.49 USD/h", 90.2, 91, "0.012386"),
        ("runpod-serverless", "0.684 USD/h", 0.4, 1, "0.00019"),  # 0.684 / 3600
        ("vast", "0.60 USD/h", 1800, 1800, "0.30"),
        ("modal", "3.60 USD/h", 10, 10, "0.01"),  # 0.001 a second
        # 1.8 / 3600 = 0.0005 a second. Settled at 23:00 and 00:00 in Shanghai and at the end:
        # 2390 s = 1.195 -> 1.20; 3600 s = 1.80; 70 s = 0.035 -> 0.04; together 3.04
        ("autodl", "1.8 CNY/h", 6060, 6060, "3.04"),
        ("autodl", "1.8 CNY/h", 1, 1, "0.01"),  # 0.0005 is rounded up to a cent
        ("autodl", "1.8 CNY/h", 20, 20, "0.01"),  # 20 x 0.0005 = 0.01 exactly: nothing to round
        # 2390 s to the full hour: 1.195; then 10 s = 0.005, but a charge is at least 0.01; together 1.205
        ("spacehpc", "1.8 CNY/h", 2400, 2400, "1.205"),
        # the second hour is paid when it begins: 61 min cost 2 h, 60 min one
        ("mornai", "2.4 CNY/h", 3660, 7200, "4.80"),
        ("mornai", "2.4 CNY/h", 3600, 3600, "2.40"),
        ("mornai", "2.4 CNY/h", 0, 3600, "2.40"),  # paid at creation
        ("moark", "3.6 CNY/h", 100, 100, "0.10"),
        ("aliyun-ecs", "2 CNY/h", 1800, 1800, "1.00"),
        ("scaleway", "1.20 EUR/h", 61, 120, "0.04"),  # 0.02 a minute
        ("akash", "1.8 USD/h", 7, 12, "0.006"),  # two blocks of 6 s: 12 x 0.0005
        ("exact", "1.8 CNY/h", 7, 7, "0.0035"),
    ],
)
def test_worked_by_hand(rule, text, seconds, billed_s, amount):
    found = billed(rule, text, seconds)
    assert (found.billed.total_seconds(), format_amount(found.total_micros)) == (billed_s, amount)


def test_every_rule_that_ships_is_worked_by_hand():
    mark = next(mark for mark in test_worked_by_hand.pytestmark if mark.name == "parametrize")
    assert {example[0] for example in mark.args[1]} == set(RULES)


@pytest.mark.parametrize(
    ("rule", "amount"),
    [
        # shut down from inside after 30 min, released an hour later: 1.5 h at 2.00
        ("azure-vm", "3.00"),
        ("aliyun-ecs", "3.00"),
        ("scaleway", "3.00"),
        ("akash", "3.00"),
        # elsewhere the shutdown ends it: 0.5 h at 2.00
        ("aws-ec2-linux", "1.00"),
        ("gcp-gce", "1.00"),
    ],
)
def test_a_machine_that_is_stopped_but_not_released(rule, amount):
    found = billed(rule, "2 USD/h", 1800, released_after=5400)
    assert format_amount(found.total_micros) == amount
    assert found.total_micros - found.stopped_micros == 1_000_000


def test_every_line_says_why():
    assert [
        (line.billed.total_seconds(), format_amount(line.amount_micros), line.why)
        for line in billed("autodl", "1.8 CNY/h", 6060).lines
    ] == [
        (2390, "1.20", "at 1.80 CNY/h; settled at the full hour; 1.195 rounded up to 1.20"),
        (3600, "1.80", "at 1.80 CNY/h; settled at the full hour"),
        (70, "0.04", "at 1.80 CNY/h; settled at the end; 0.035 rounded up to 0.04"),
    ]
    assert [line.why for line in billed("azure-vm", "0.526 USD/h", 20, released_after=50).lines] == [
        "at 0.526 USD/h",
        "at 0.526 USD/h; stopped, but not released",
        "at 0.526 USD/h; each start costs at least 300 s",
    ]
    assert [line.why for line in billed("lambda", "1.29 USD/h", 61).lines][
        1
    ] == "at 1.29 USD/h; rounded up to whole 60 s"
    assert billed("mornai", "2.4 CNY/h", 3660).lines[1].why == "paid in advance at 2.40 CNY/h; 59m of it not used"
    assert billed("spacehpc", "1.8 CNY/h", 2400).lines[1].why.endswith("0.005, but a charge is at least 0.01")


def spot(rule, *prices):
    segments = tuple(
        PriceSegment(started_at=START + timedelta(minutes=minute), price=price(text)) for minute, text in prices
    )
    return bill(PowerOn(started_at=START, ended_at=START + timedelta(minutes=90), prices=segments), RULES[rule])


def test_a_price_that_changes_bills_each_stretch_at_its_own():
    # 30 min at 0.40, 60 min at 0.60: 0.20 + 0.60
    found = spot("aws-spot", (0, "0.40 USD/h"), (30, "0.60 USD/h"))
    assert [format_amount(line.amount_micros) for line in found.lines] == ["0.20", "0.60"]


def test_an_hour_paid_in_advance_keeps_the_price_it_began_with():
    # the first hour at 2.40 although the price rises after 30 min; the second at 3.00
    found = spot("mornai", (0, "2.4 CNY/h"), (30, "3 CNY/h"))
    assert [format_amount(line.amount_micros) for line in found.lines] == ["2.40", "3.00"]


def test_a_settlement_over_two_prices_is_rounded_once():
    # to 15:00:00, 1800 s at 1.80 and 590 s at 2.00: 0.90 + 0.327777.. = 1.227777.. -> 1.23, not 0.90 + 0.33
    # then 3010 s at 2.00: 1.672222.. -> 1.68
    found = spot("autodl", (0, "1.8 CNY/h"), (30, "2 CNY/h"))
    assert format_amount(found.total_micros) == "2.91"
    assert [format_amount(line.amount_micros) for line in found.lines] == ["0.90", "0.33", "1.68"]
