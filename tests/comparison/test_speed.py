"""On what the hours of another GPU rest."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.adapters import catalog
from costctl.domain.roofline import Roofline, Traffic
from costctl.domain.speed import Basis, Ground, speed_on
from costctl.domain.workload import Load

GPUS = catalog.gpu_models()
BOOK = catalog.model_book()
MODEL = "Qwen/Qwen3-1.7B"


def speed(load, gpu, measures=(), *, known=True):
    return speed_on(
        load,
        GPUS.named(gpu),
        model=BOOK.find(load.model) if known and load.model else None,
        own_gpu=GPUS.by_nvml_name(load.gpu) if load.gpu else None,
        measures=measures,
    )


def hours(found):
    return found.busy / timedelta(hours=1)


def test_where_it_ran_the_hours_are_measured(load):
    found = speed(load(), "A10G")
    assert (found.ground, found.busy) == (Ground.OWN, timedelta(hours=10))


def test_elsewhere_they_are_estimated_from_the_ratio_of_two_rooflines(load):
    """10 hours for 1.5 million written tokens are 43 a second: less than one stream would give, so one at a time.

    A token then takes (3.44 GB + 640 x 114,688 bytes) at 85 % of 600 or 320 GB/s, and 2 ms; a prompt's token 2 x 1.72e9
    operations at half of 70 or 65 TFLOP/s. Per request that is 2.33 s on the A10G and 3.87 s on the T4.
    """
    found = speed(load(), "T4")
    assert (found.ground, found.ground.basis, found.concurrency) == (Ground.ROOFLINE, Basis.ESTIMATED, 1)
    step = {bandwidth: (3_440_902_144 + 640 * 114_688) / (bandwidth * 0.85e9) + 0.002 for bandwidth in (600, 320)}
    prompt = {tflops: 512 * 2 * 1_720_451_072 / (tflops * 0.5e12) for tflops in (70, 65)}
    a10g, t4 = 256 * step[600] + prompt[70], 256 * step[320] + prompt[65]
    assert (a10g, t4) == (pytest.approx(2.33, abs=0.01), pytest.approx(3.87, abs=0.01))
    assert hours(found) == pytest.approx(10 * t4 / a10g)


def test_a_busy_gpu_is_compared_at_the_concurrency_that_explains_its_pace(load):
    busy = timedelta(hours=1)
    found = speed(load(busy=busy), "L4")
    roofline = Roofline(model=BOOK.find(MODEL), gpu=GPUS.named("A10G"))
    assert found.concurrency == pytest.approx(roofline.concurrency_behind(load().traffic, busy))
    assert found.concurrency > 2
    assert found.busy > busy


def test_no_more_requests_are_at_work_than_fit(load):
    crowded = load(busy=timedelta(minutes=2), model="Qwen/Qwen3-8B-AWQ", context=8192)
    there = speed(crowded, "T4").concurrency
    assert there < speed(crowded, "L4").concurrency
    room = (14.56 * 0.9 * 2**30 - 6_097_862_656 - 2 * 2**30) / 147_456 / 768
    assert there == pytest.approx(room, abs=1)


def test_what_the_ledger_saw_there_is_carried_over_by_tokens(load, measure):
    """Ten times the tokens of a measured hour are ten hours, however wrong the roofline is."""
    found = speed(load(), "L4", [measure()])
    assert (found.ground, hours(found)) == (Ground.LEDGER, pytest.approx(10))
    assert found.ground.basis is Basis.MEASURED


def test_a_measure_with_longer_prompts_is_weighed(load, measure):
    reads_more = measure(traffic=Traffic(requests=600, prompt_tokens=600 * 4096, generation_tokens=600 * 256))
    assert hours(speed(load(), "L4", [reads_more])) < 10


def test_a_benchmark_at_saturation_says_how_far_the_roofline_is_off(load, measure):
    """It was twice as slow as its roofline, so the load, at its own concurrency, is too."""
    model, l4 = BOOK.find(MODEL), GPUS.named("L4")
    traffic = Traffic(requests=2000, prompt_tokens=512_000, generation_tokens=256_000)
    twice = timedelta(seconds=2 * Roofline(model=model, gpu=l4).busy_seconds(traffic, 64))
    benchmark = measure(traffic=traffic, busy=twice, is_benchmark=True, concurrency=64)
    found = speed(load(), "L4", [benchmark])
    assert (found.ground, found.concurrency) == (Ground.BENCHMARK, 1)
    assert found.busy / Roofline(model=model, gpu=l4).busy_seconds(load().traffic, 1) == pytest.approx(
        timedelta(seconds=2), rel=1e-6
    )


def test_real_use_comes_before_benchmarks_and_the_newest_first(load, measure, now):
    slow = measure(busy=timedelta(hours=2))
    newer = measure(busy=timedelta(hours=3), measured_at=now)
    benchmark = measure(is_benchmark=True, measured_at=now, concurrency=256)
    assert hours(speed(load(), "L4", [slow, newer, benchmark])) == pytest.approx(30)
    longest = replace(newer, busy=timedelta(hours=4))
    assert speed(load(), "L4", [newer, longest]).measure == longest  # equally new: what rests on more work
    assert speed(load(), "L4", [benchmark]).ground is Ground.BENCHMARK


@pytest.mark.parametrize(
    "facts", [{"model": "Qwen/Qwen3-4B"}, {"model": f"{MODEL}-FP8"}, {"gpu": "T4"}, {"gpu_count": 2}]
)
def test_a_measure_of_something_else_does_not_count(load, measure, facts):
    assert speed(load(), "L4", [measure(**facts)]).ground is Ground.ROOFLINE


def test_an_unknown_model_keeps_its_hours_unless_it_was_measured(load, measure):
    unknown = load(model="who/knows")
    found = speed(unknown, "L4")
    assert (found.ground, found.ground.basis, found.busy) == (Ground.UNKNOWN_MODEL, Basis.UNCHANGED, unknown.busy)
    measured = speed(unknown, "L4", [measure(model="knows")])
    assert (measured.ground, hours(measured)) == (Ground.LEDGER, pytest.approx(10))


def test_nothing_is_made_up(load):
    assert speed(load(traffic=Traffic()), "L4").ground is Ground.NO_TRAFFIC
    assert speed(load(gpu="Some Other GPU"), "L4").ground is Ground.UNKNOWN_GPU
    assert speed(load(gpu=None), "L4").ground is Ground.GIVEN


def test_requests_alone_give_hours_where_the_model_is_known(load):
    planned = load(gpu=None, busy=None, concurrency=4)
    one_at_a_time = load(gpu=None, busy=None, concurrency=1)
    assert speed(planned, "L4").ground is Ground.ROOFLINE
    assert speed(planned, "L4").busy < speed(one_at_a_time, "L4").busy
    assert speed(planned, "L4", known=False).busy is None


def test_a_machine_with_several_gpus_is_another_one(load):
    found = speed(load(gpu_count=2), "A10G")
    assert found.ground is Ground.ROOFLINE
    assert hours(found) > 10


@given(
    model=st.sampled_from(BOOK.models),
    gpu=st.sampled_from(list(GPUS)),
    busy=st.integers(1, 10**6),
    size=st.tuples(st.integers(1, 10**5), st.integers(0, 8000), st.integers(1, 8000)),
)
def test_the_roofline_knows_no_difference_between_a_gpu_and_itself(model, gpu, busy, size):
    requests, prompt, output = size
    traffic = Traffic(requests=requests, prompt_tokens=requests * prompt, generation_tokens=requests * output)
    twin = GPUS.named(gpu.name)
    load = Load(model=model.name, gpu=f"{gpu.name} (under another name)", busy=timedelta(seconds=busy), traffic=traffic)
    found = speed_on(load, gpu, model=model, own_gpu=twin, measures=())
    assert found.ground is Ground.ROOFLINE
    assert found.busy == pytest.approx(load.busy, rel=1e-9)
