"""The roofline, against figures worked by hand and published ones."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.adapters import catalog
from costctl.domain.models import ModelFacts
from costctl.domain.roofline import Roofline, Traffic

GPUS = catalog.gpu_models()
BOOK = catalog.model_book()


def line(model, gpu, gpu_count=1):
    return Roofline(model=BOOK.find(model), gpu=GPUS.named(gpu), gpu_count=gpu_count)


def test_a_step_worked_by_hand():
    """T4: 3.4409 GB of weights and 4 x 600 tokens x 114,688 bytes of KV at 85 % of 320 GB/s, and 2 ms."""
    by_hand = (1_720_451_072 * 2 + 4 * 600 * 114_688) / (320e9 * 0.85) + 0.002
    assert line("Qwen/Qwen3-1.7B", "T4").step_seconds(600, 4) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.01566, abs=1e-5)


def test_reading_a_prompt_worked_by_hand():
    """Two operations per weight and token, at half of 65 TFLOP/s."""
    seconds = line("Qwen/Qwen3-1.7B", "T4").busy_seconds(Traffic(requests=1, prompt_tokens=1000), 1)
    assert seconds == pytest.approx(2 * 1_720_451_072 * 1000 / 32.5e12)


def test_a_full_batch_is_bound_by_arithmetic():
    """256 tokens x 2 x 8.19e9 at half of 65 TFLOP/s is 129 ms, the memory would need only 60."""
    assert line("Qwen/Qwen3-8B", "T4").step_seconds(1, 256) == pytest.approx(0.129 + 0.002, abs=0.001)


def test_fp8_is_faster_only_where_the_gpu_computes_it():
    prompt = Traffic(requests=1, prompt_tokens=1000)
    ratio = {
        gpu: line("Qwen/Qwen3-8B", gpu).busy_seconds(prompt, 1) / line("Qwen/Qwen3-8B-FP8", gpu).busy_seconds(prompt, 1)
        for gpu in ("A10G", "L4")
    }
    assert ratio == {"A10G": pytest.approx(1), "L4": pytest.approx(2, rel=0.01)}


@pytest.mark.parametrize(
    ("model", "gpu", "tokens_per_second"),
    [("meta-llama/Llama-3.1-8B-Instruct", "A100-40GB", 75), ("meta-llama/Llama-3.1-8B-Instruct", "H100", 122)],
)
def test_single_streams_are_as_fast_as_published(model, gpu, tokens_per_second):
    assert 1 / line(model, gpu).step_seconds(500, 1) == pytest.approx(tokens_per_second, rel=0.1)


def test_two_gpus_share_the_work():
    one, two = (line("Qwen/Qwen3-8B", "L4", count).step_seconds(500, 4) - 0.002 for count in (1, 2))
    assert two == pytest.approx(one / 2)


traffics = st.builds(
    Traffic,
    requests=st.integers(1, 10**5),
    prompt_tokens=st.integers(1, 10**8),
    generation_tokens=st.integers(1, 10**8),
)


@given(traffic=traffics, model=st.sampled_from(BOOK.models), gpu=st.sampled_from(list(GPUS)), at_once=st.floats(1, 256))
def test_the_concurrency_behind_a_time_explains_it(traffic, model, gpu, at_once):
    roofline = Roofline(model=model, gpu=gpu)
    busy = timedelta(seconds=roofline.busy_seconds(traffic, at_once))
    found = roofline.concurrency_behind(traffic, busy)
    assert 1 <= found <= 256
    assert roofline.busy_seconds(traffic, found) == pytest.approx(busy.total_seconds(), rel=1e-6, abs=1e-5)


@given(
    traffic=traffics, model=st.sampled_from(BOOK.models), gpu=st.sampled_from(list(GPUS)), seconds=st.floats(0.001, 1e7)
)
def test_the_concurrency_stays_in_its_bounds(traffic, model, gpu, seconds):
    found = Roofline(model=model, gpu=gpu).concurrency_behind(traffic, timedelta(seconds=seconds), most=17)
    assert 1 <= found <= 17


@given(traffic=traffics, model=st.sampled_from(BOOK.models), gpu=st.sampled_from(list(GPUS)), at_once=st.floats(1, 255))
def test_more_at_once_is_never_slower(traffic, model: ModelFacts, gpu, at_once):
    roofline = Roofline(model=model, gpu=gpu)
    assert roofline.busy_seconds(traffic, at_once + 1) <= roofline.busy_seconds(traffic, at_once) * (1 + 1e-9)


def test_traffic_is_not_negative():
    with pytest.raises(ValueError, match="not negative"):
        Traffic(requests=-1)
