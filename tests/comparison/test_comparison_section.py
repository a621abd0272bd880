"""What a comparison says to people."""

from datetime import timedelta

import pytest

from costctl.domain.baseline import parse_baseline
from costctl.domain.offers import Market
from costctl.domain.roofline import Traffic
from costctl.reports.comparison import comparison_section
from costctl.reports.outline import Notes, Prose
from costctl.reports.wording import Wording

ENGLISH = Wording.of("en")
HOUR = timedelta(hours=1)
LARGE = "Qwen/Qwen3-8B"


@pytest.fixture
def said(compared):
    """Compare as `compared` does, and return the section's sentences, one a line."""

    def said(*args, **facts):
        section = comparison_section(compared(*args, **facts), ENGLISH)
        notes = [item for block in section.blocks if isinstance(block, Notes) for item in block.items]
        return [*(block.text for block in section.blocks if isinstance(block, Prose)), *notes]

    return said


@pytest.fixture
def rows(compared):
    """Compare as `compared` does, and return the rows of a table."""

    def rows(key, *args, **facts):
        section = comparison_section(compared(*args, **facts), ENGLISH)
        return next(table.rows for table in section.tables if table.key == key)

    return rows


def test_how_many_machines_are_compared_is_said(said, load, offer):
    assert "on one of each GPU within 7d" in said([load()], ["T4"], [offer()])[0]
    assert "with 3 always on, as many as were up at once" in said([load()], ["T4"], [offer()], machines=3)[0]


def test_a_baseline_that_is_always_on_is_as_many_machines_and_says_so(rows, load, offer, gpus, now):
    baseline = parse_baseline("A10G always-on", models=gpus, now=now)
    held, row = rows("baseline", [load()], ["A10G"], [offer(gpu="A10G")], machines=3, baseline=baseline)
    assert (held[0], held[2].micros) == ("baseline: 3x A10G on-demand always on", 3 * 168 * 500_000)
    assert row[0] == "A10G on-demand as run"


def test_saved_is_left_out_where_the_work_does_not_get_done(rows, said, load, offer):
    full, offers = [load(busy=300 * HOUR)], [offer(gpu="A10G"), offer(gpu="A10G", market=Market.SPOT)]
    assert [row[8] for row in rows("costs", full, ["A10G"], offers)] == ["", ""]
    sentences = said(full, ["A10G"], offers)
    assert sentences[1] == (
        "No GPU that fits and has a price in USD gets the work done in 7d: it needs more than one machine."
    )
    assert sum("does not get done" in sentence for sentence in sentences) == 1  # not once for each market


def test_why_nothing_is_recommended_is_said(said, load, offer):
    def answers(names, prices=1, **facts):
        return said([load(**facts)], names, [offer()] * prices)[1:3]

    too_large = "T4: too little memory for Qwen/Qwen3-8B."
    assert answers(["T4"], model=LARGE) == [too_large, "None of these GPUs can do all of the work."]
    assert answers(["T4", "A10G"], model=LARGE) == [too_large, "No GPU that fits has a known price in USD."]
    assert (
        sum("None of these" in line for line in said([load(model=LARGE)], ["T4"], [offer(), offer(currency="CNY")]))
        == 1
    )
    assert answers(["T4"], prices=0)[0].startswith("No price of these GPUs is known")
    assert answers(["T4"], model="who/knows", busy=None)[0].startswith("How long the work takes is not known")


def test_requests_that_were_too_long_are_said_apart_from_models_that_are_too_large(said, load):
    llama = {"model": "meta-llama/Llama-3.1-8B-Instruct", "context": None}
    short, long = (Traffic(requests=10, prompt_tokens=10 * size, generation_tokens=100) for size in (500, 60_000))
    verdicts = [said([load(traffic=traffic, **llama)], ["A10G"])[1] for traffic in (short, long)]
    assert verdicts == [
        "A10G: meta-llama/Llama-3.1-8B-Instruct with less context than asked for.",
        "A10G: too little memory for requests to meta-llama/Llama-3.1-8B-Instruct as long as they were.",
    ]


def test_what_is_the_same_is_said_once(said, load, offer):
    """The same model ran on two other GPUs, and two other models are unknown."""
    loads = [load(), load(gpu="A10"), load(model="who/knows"), load(model="what/else")]
    offers = [offer(market=market) for market in Market]
    found = said(loads, ["T4", "L4"], offers)
    assert len(found) == len(set(found))
    assert sum("estimated by roofline for" in line for line in found) == 1
    assert "T4, L4: the speed of who/knows, what/else is not known, so the hours stay as they are." in found
    (needs,) = [line for line in found if "vLLM needs" in line]
    assert needs.startswith("T4: vLLM needs `--dtype half --attention-backend TRITON_ATTN`. It has no bf16")


def test_only_the_model_that_decides_is_in_the_table_of_memory(rows, load):
    loads = [load(), load(model=LARGE), load(model=LARGE, gpu="A10")]
    assert [row[:2] for row in rows("memory", loads, ["T4", "L4"])] == [("T4", LARGE), ("L4", LARGE)]


def test_hours_that_rest_on_different_things_are_not_called_unchanged(rows, load):
    known, unknown = load(), load(model="who/knows")
    assert [rows("costs", loads, ["L4"])[0][4] for loads in ([known], [unknown], [known, unknown])] == [
        "estimated",
        "unchanged",
        "mixed",
    ]
