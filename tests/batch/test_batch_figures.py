"""The small figures of a batch: what is forgiven, how fast it goes, what a million tokens cost."""

from fractions import Fraction

import pytest

from costctl.batch.conduct import End, How
from costctl.batch.forgiveness import MaxFailures
from costctl.batch.meter import Meter
from costctl.batch.tally import Tally
from costctl.batch.usage import usage_in, usage_of
from costctl.cli.batch_summary import Summary, cost_per_million
from costctl.domain.http_batches import Usage
from costctl.errors import BadValueError
from costctl.wiring.batch import Outcome


@pytest.mark.parametrize(
    ("text", "failed", "total", "forgiven"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("3", 3, 10, True),
        ("3", 4, 10_000, False),
        ("1%", 1, 100, True),
        ("1%", 1, 99, False),
        ("0.1 %", 1, 1000, True),
        ("100%", 10, 10, True),
    ],
)
def test_failures_are_forgiven_by_number_or_share(text, failed, total, forgiven):
    assert MaxFailures.parse(text).forgives(failed, total) is forgiven


def test_a_share_is_exact():
    assert MaxFailures.parse("0.1%").share == Fraction(1, 1000)


@pytest.mark.parametrize("text", ["", "-1", "1,5%", "101%", "many", "%", "1e3"])
def test_other_words_for_failures_are_refused(text):
    with pytest.raises(BadValueError, match="like 5 or 1%"):
        MaxFailures.parse(text)


def test_the_rate_is_that_of_the_last_minute_without_the_time_before_the_first_answer():
    now, tally = [0.0], Tally()
    meter = Meter(tally, lambda: now[0])
    for second in range(300):
        now[0] = float(second)
        if second > 100:
            tally.requests += 10 if second > 200 else 1
            tally.generation_tokens += 50
        rate = meter.read()
        if second == 150:
            assert (rate.lines, rate.eta_s(60)) == (1.0, 60.0)
    assert (rate.lines, rate.tokens) == (10.0, 50.0)


def test_nothing_is_known_of_the_rate_before_the_first_answer():
    assert Meter(Tally(), lambda: 5.0).read().eta_s(100) is None


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (
            b'{"id":"a","usage":{"prompt_tokens":7,"total_tokens":27,"completion_tokens":20}}',
            {"input_tokens": 7, "output_tokens": 20},
        ),
        (
            b'{"choices":[{"text":"the \\"usage\\" of words"}],"usage": {"prompt_tokens": 7, "total_tokens": 7}}',
            {"input_tokens": 7},
        ),
        (
            b'{"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens":1}}',
            {"input_tokens": 7, "cached_tokens": 5, "output_tokens": 1},
        ),
        (
            b'{"usage":{"input_tokens":3,"output_tokens":4,"output_tokens_details":{"reasoning_tokens":2}}}',
            {"input_tokens": 3, "output_tokens": 4, "reasoning_tokens": 2},
        ),
        (b'{"usage":{"prompt_tokens":7,"prompt_tokens_details":null}}', {"input_tokens": 7}),
        (b'{"usage":null}', {}),
        (b"", {}),
    ],
)
def test_tokens_are_found_at_the_end_of_an_answer(body, tokens):
    assert usage_of(body) == tokens


def test_the_tokens_of_all_answers_add_up(tmp_path):
    results = tmp_path / "results.jsonl"
    line = b'{"response":{"body":{"usage":{"prompt_tokens":7,"completion_tokens":20}}},"error":null}\n'
    results.write_bytes(line * 3)
    assert usage_in(results) == Usage(input_tokens=21, output_tokens=60)
    results.write_bytes(b"")
    assert usage_in(results) == Usage()


def test_a_million_tokens_cost_what_they_cost_with_one_rounding():
    assert cost_per_million(7_117, 2_559_900) == 2_780
    assert cost_per_million(5, 0) is None


def outcome(**more):
    tally = Tally(requests=90, failed=1, prompt_tokens=600_000, generation_tokens=400_000)
    given = {
        "end": End(how=How.THROUGH),
        "tally": tally,
        "seconds": 100.0,
        "follows": False,
        "last_words": "",
        "error": None,
    }
    return Outcome(**(given | {"spent": {"CNY": 50_000}} | more))


def summary(**more):
    given = {"name": "jobs.jsonl", "results": "r.jsonl", "errors": "e.jsonl", "lines": 100, "done": 100, "failed": 1}
    return Summary(**(given | {"exit_code": 4, "outcome": outcome()} | more))


def test_a_summary_says_what_came_of_it_and_what_it_cost():
    assert summary().as_text().splitlines() == [
        "jobs.jsonl: 99 of 100 lines succeeded, 1 failed",
        "this run: 90 lines in 1m40s; 600,000 tokens in, 400,000 out, 10,000 a second",
        "cost of the machine meanwhile: 0.0500 CNY, 0.0500 CNY per million tokens",
        "results: r.jsonl; errors: e.jsonl",
    ]


def test_a_batch_that_is_not_through_names_no_results_and_says_how_to_go_on():
    text = summary(done=40, outcome=outcome(end=End(how=How.CANCELLED, why="by hand"))).as_text()
    assert "cancelled: by hand" in text
    assert text.endswith("60 lines left: the same command goes on from here")
    assert summary(done=40).as_json()["results"] is None


def test_costs_in_two_currencies_are_never_added():
    told = summary(outcome=outcome(spent={"CNY": 50_000, "USD": 7_000})).as_json()
    assert [(cost["amount"], cost["currency"]) for cost in told["run"]["costs"]] == [("0.05", "CNY"), ("0.007", "USD")]
