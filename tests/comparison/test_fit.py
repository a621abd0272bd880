"""Whether models fit, against figures worked by hand and what vLLM measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.adapters import catalog
from costctl.domain.fit import GIB, Caveat, Verdict, caveats, fit, needed_flags

GPUS = catalog.gpu_models()
BOOK = catalog.model_book()


def fitted(model, gpu, context=None):
    return fit(BOOK.find(model), GPUS.named(gpu), context)


def test_a_small_model_on_a_t4_worked_by_hand():
    found = fitted("Qwen/Qwen3-1.7B", "T4", 8192)
    assert found.available_bytes / GIB == pytest.approx(14.56 * 0.9)
    assert found.weights_bytes / GIB == pytest.approx(1_720_451_072 * 2 / 2**30)
    assert found.kv_bytes == 8192 * 114_688
    left = 14.56 * 0.9 - 3.2046 - 2
    assert found.kv_tokens == pytest.approx(left * GIB / 114_688, abs=100)
    assert (found.verdict, found.sequences()) == (Verdict.FITS, 9)


def test_the_estimate_is_near_what_vllm_had_on_an_h100():
    """vLLM 0.21 with 0.85 of the memory had 574,144 tokens; at 0.9 that is 4 GiB more."""
    measured = 574_144 + 0.05 * 79.1 * GIB / 114_688
    assert fitted("Qwen/Qwen3-1.7B", "H100").kv_tokens == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    ("model", "gpu", "context", "verdict"),
    [
        ("Qwen/Qwen3-8B", "T4", 4096, Verdict.TOO_LARGE),
        ("Qwen/Qwen3-8B-AWQ", "T4", 8192, Verdict.FITS),
        ("Qwen/Qwen3-8B", "A10G", 8192, Verdict.FITS),
        ("meta-llama/Llama-3.1-8B-Instruct", "A10G", None, Verdict.SHORTER),
        ("meta-llama/Llama-3.3-70B-Instruct", "H100", 8192, Verdict.TOO_LARGE),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8", "H200", 8192, Verdict.FITS),
    ],
)
def test_what_fits_and_what_does_not(model, gpu, context, verdict):
    assert fitted(model, gpu, context).verdict is verdict


def test_with_less_context_it_fits_and_vllm_is_told_how_much():
    found = fitted("meta-llama/Llama-3.1-8B-Instruct", "A10G")
    assert found.context == 131_072
    assert f"--max-model-len {found.longest_context}" in needed_flags(GPUS.named("A10G"), found)
    again = fitted("meta-llama/Llama-3.1-8B-Instruct", "A10G", found.longest_context)
    assert (again.verdict, again.sequences()) == (Verdict.FITS, 1)


def test_a_t4_needs_flags_and_an_l4_none():
    assert needed_flags(GPUS.named("T4")) == ("--dtype half", "--attention-backend TRITON_ATTN")
    assert needed_flags(GPUS.named("L4")) == ()
    assert list(caveats(GPUS.named("T4"), None)) == [Caveat.NO_BF16, Caveat.NO_FP8_KV]


def test_fp8_weights_save_only_memory_where_there_is_no_fp8():
    model = BOOK.find("Qwen/Qwen3-8B-FP8")
    assert [gpu for gpu in ("A10G", "L4", "H100") if Caveat.WEIGHTS_ONLY in caveats(GPUS.named(gpu), model)] == ["A10G"]


@given(
    model=st.sampled_from(BOOK.models),
    smaller=st.sampled_from(list(GPUS)),
    larger=st.sampled_from(list(GPUS)),
    context=st.integers(1, 131_072),
)
def test_what_fits_into_less_memory_fits_into_more(model, smaller, larger, context):
    if smaller.usable_gib > larger.usable_gib:
        smaller, larger = larger, smaller
    if larger.usable_gib >= 70 > smaller.usable_gib:  # the overhead is another there, never by as much as the memory
        assert larger.usable_gib - smaller.usable_gib > 2
    order = (Verdict.TOO_LARGE, Verdict.SHORTER, Verdict.FITS)
    one, other = fit(model, smaller, context), fit(model, larger, context)
    assert order.index(one.verdict) <= order.index(other.verdict)
    assert one.sequences() <= other.sequences()


@given(model=st.sampled_from(BOOK.models), gpu=st.sampled_from(list(GPUS)), context=st.integers(1, 10**6))
def test_the_parts_never_exceed_what_there_is(model, gpu, context):
    found = fit(model, gpu, context)
    if found.verdict is not Verdict.TOO_LARGE:
        used = found.weights_bytes + found.overhead_bytes + found.longest_context * found.kv_bytes_per_token
        assert used <= found.available_bytes
