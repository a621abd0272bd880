"""A daemon without --price freezes what the price book says, and the book can be written beside it."""

import json

import pytest

AT_AWS = ("--provider", "aws", "--instance-type", "g4dn.xlarge", "--region", "us-east-1", "--market", "on-demand")


def test_the_catalogs_price_is_frozen_and_the_instance_gets_its_facts(box):
    daemon = box.serve("--gpu", "sim:T4", *AT_AWS, "--idle-shutdown", "off")
    source = "catalog: aws g4dn.xlarge us-east-1 on-demand, 2026-07-20"
    assert f"price: 0.526 USD/h ({source}" in daemon.said
    assert box.status()["session"]["price_source"] == source
    box.ok("prices", "set", "1.8 CNY/h", "--gpu", "T4", "--from", "2026-01-05")
    assert box.status()["session"]["price_source"] == source
    box.ok("stop")
    assert daemon.ended() == 0
    with box.ledger() as ledger:
        (session,) = ledger.sessions()
        facts = session.instance
        assert ledger.check() == []
    assert (facts.provider, facts.instance_type, facts.region, facts.market) == AT_AWS[1::2]
    assert (str(session.price), session.price.source) == ("0.526 USD/h", source)

    again = box.serve("--gpu", "sim:T4", "--idle-shutdown", "0.2s")
    assert again.ended() == 0
    with box.ledger() as ledger:
        (session,) = ledger.sessions(last=1)
    assert session.price.source == "own price of 2026-01-05 (assumed: market)"
    assert session.instance.provider is None


def test_what_the_book_does_not_know_stays_unknown(box):
    daemon = box.serve("--gpu", "sim:T4", "--provider", "aws", "--idle-shutdown", "0.2s")
    assert daemon.ended() == 0
    assert "price: unknown, so no cost can be told (33 offers of aws match 1 x NVIDIA T4 (simulated)" in daemon.said
    with box.ledger() as ledger:
        (session,) = ledger.sessions()
    assert session.price is None


def test_a_flag_comes_before_the_book(box):
    daemon = box.serve("--gpu", "sim:T4", *AT_AWS, "--price", "2 CNY/h", "--idle-shutdown", "0.2s")
    assert daemon.ended() == 0
    with box.ledger() as ledger:
        (session,) = ledger.sessions()
    assert (str(session.price), session.price.source) == ("2.00 CNY/h", "--price")
    assert session.instance.provider == "aws"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--market", "black"), "--market: 'black' is none of on-demand, spot"),
        (("--provider", " "), "--provider: ' ' is not a text"),
    ],
)
def test_facts_that_cannot_be_are_refused(box, arguments, words):
    done = box.here("serve", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_session_keeps_the_rule_by_which_it_began(box):
    box.serve("--idle-shutdown", "0.3s", "--price", "36 USD/h", "--billing-rule", "aws-ec2-linux").ended()
    (session,) = box.sessions()
    assert (session["billing_rule"], session["cost"]) == ("aws-ec2-linux", "0.60"), "a minute at least"

    by_the_second = {"COSTCTL_BILLING_RULE": "exact"}
    (later,) = json.loads(box.ok("sessions", "--json", **by_the_second))
    assert later["cost"] == "0.60", "what is set now holds for the next session"


def test_the_cost_so_far_is_by_the_rule_too(box):
    box.serve("--idle-shutdown", "off", "--price", "36 USD/h", "--billing-rule", "aws-ec2-linux")
    session = box.status()["session"]
    assert (session["billing_rule"], session["cost"]) == ("aws-ec2-linux", "0.600000")
