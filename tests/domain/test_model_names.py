from fractions import Fraction

import pytest

from costctl.domain.model_names import read_model_name

SAME = {
    "Qwen/Qwen2.5-7B-Instruct": [
        "qwen/qwen-2.5-7b-instruct",
        "qwen2p5-7b-instruct",
        "Qwen/Qwen2.5-7B",
        "/models/Qwen2.5-7B-Instruct-AWQ/",
        "qwen2.5-7b-instruct-q4_k_m.gguf",
        "unsloth/Qwen2.5-7B-Instruct-bnb-4bit",
        "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
        "Qwen2.5-7B-Instruct-Turbo",
    ],
    "meta-llama/Llama-3.1-8B-Instruct": [
        "meta.llama3-1-8b-instruct-v1:0",
        "@cf/meta/llama-3.1-8b-instruct-fp8-fast",
        "accounts/fireworks/models/llama-v3p1-8b-instruct",
        "llama-3.1-8b-instant",
        "Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
    ],
    "qwen3-8b-fp8": ["Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"],
    "mistralai/Mistral-7B-Instruct-v0.2": ["mistral.mistral-7b-instruct-v0:2"],
}


@pytest.mark.parametrize(("name", "other"), [(name, other) for name, others in SAME.items() for other in others])
def test_names_of_the_same_model_are_equal(name, other):
    assert read_model_name(name) == read_model_name(other)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-Coder-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("Qwen/Qwen3-8B", "deepseek/deepseek-r1-0528-qwen3-8b"),
        ("Qwen/Qwen3-8B", "qwen3-8b:free"),
        ("Qwen/Qwen3-4B-Instruct", "Qwen/Qwen3-4B-Instruct-2507"),
        ("Qwen/Qwen3-30B", "Qwen/Qwen3-30B-A3B"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Meta-Llama-3-8B"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.3-70B"),
        ("meta-llama/Llama-3-8B", "meta-llama/Llama-Guard-3-8B"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("deepseek-ai/DeepSeek-V2-Chat", "deepseek-ai/DeepSeek-V2-Lite-Chat"),
    ],
)
def test_a_relative_is_another_model(name, other):
    assert read_model_name(name) != read_model_name(other)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-0.6B", Fraction(3, 5)),
        ("facebook/opt-125m", Fraction(1, 8)),
        ("Qwen/Qwen2.5-7B-Instruct-1M", 7),
        ("deepseek-r1-distill-qwen-32b", 32),
        ("Qwen/Qwen3-30B-A3B", None),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", None),
        ("my-model", None),
        ("", None),
    ],
)
def test_the_size_is_read_where_the_name_says_it_of_a_dense_model(name, billions):
    assert read_model_name(name).billions == billions


def test_a_plain_model_is_a_familys_general_one():
    plain = ["Qwen/Qwen2.5-7B-Instruct", "google/gemma-3-12b-it", "mistral-7b"]
    special = ["Llama-Guard-3-8B", "Qwen2.5-Coder-7B", "deepseek-r1-0528-qwen3-8b", "Qwen3-4B-2507", "gpt-4o", "8b"]
    assert all(read_model_name(name).is_plain for name in plain)
    assert not any(read_model_name(name).is_plain for name in special)
