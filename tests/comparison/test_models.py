"""The facts of models: their sizes against what their publishers say, and by which names they are found."""

import json

import pytest

from costctl.adapters.model_config import find_config, read_config
from costctl.domain.models import Weights, same_model
from costctl.errors import BadValueError

# What the model cards and the safetensors files say, in millions.
PUBLISHED = {
    "Qwen/Qwen3-0.6B": 596,
    "Qwen/Qwen3-1.7B": 1721,
    "Qwen/Qwen3-4B": 4022,
    "Qwen/Qwen3-8B": 8191,
    "Qwen/Qwen3-14B": 14768,
    "Qwen/Qwen3-32B": 32762,
    "Qwen/Qwen3-30B-A3B": 30532,
    "Qwen/Qwen2.5-0.5B-Instruct": 494,
    "Qwen/Qwen2.5-7B-Instruct": 7616,
    "Qwen/Qwen2.5-72B-Instruct": 72706,
    "meta-llama/Llama-3.1-8B-Instruct": 8030,
    "meta-llama/Llama-3.2-1B-Instruct": 1236,
    "meta-llama/Llama-3.3-70B-Instruct": 70554,
    "mistralai/Mistral-7B-Instruct-v0.3": 7248,
    "microsoft/phi-4": 14660,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1100,
}
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_the_shape_gives_the_number_of_parameters_that_is_published(book, name, millions):
    assert book.find(name).parameters / 1e6 == pytest.approx(millions, rel=0.001)


def test_of_a_mixture_of_experts_only_some_weights_work_on_a_token(book):
    mixture = book.find("Qwen/Qwen3-30B-A3B")
    assert mixture.active_parameters / 1e9 == pytest.approx(3.34, abs=0.02)
    assert mixture.bytes_read(1) / 1e9 == pytest.approx(6.7, abs=0.1)  # 2 bytes each
    assert mixture.bytes_read(1) < mixture.bytes_read(8) < mixture.bytes_read(256) <= mixture.weight_bytes
    dense = book.find("Qwen/Qwen3-8B")
    assert dense.bytes_read(1) == dense.bytes_read(64) == dense.weight_bytes


def test_a_token_takes_two_bytes_for_key_and_value_in_every_layer(book):
    """28 layers x 8 heads x 128 x 2 (key and value) x 2 bytes; vLLM had 574,144 tokens in 61.3 GiB on an H100."""
    facts = book.find("Qwen/Qwen3-1.7B")
    assert facts.kv_bytes_per_token == 114_688
    assert 574_144 * facts.kv_bytes_per_token / 2**30 == pytest.approx(61.3, abs=0.05)
    assert book.find("Qwen/Qwen2.5-7B-Instruct").kv_bytes_per_token == 56 * 1024
    assert book.find("meta-llama/Llama-3.1-8B-Instruct").kv_bytes_per_token == 128 * 1024


def test_quantised_weights_are_smaller_but_embeddings_stay_as_they_are(book):
    """Qwen3-8B-AWQ's files are 6.1 GB, those of Qwen3-8B-FP8 9.4 GB."""
    sizes = {suffix: book.find(f"Qwen/Qwen3-8B{suffix}").weight_bytes / 1e9 for suffix in ("", "-FP8", "-AWQ")}
    assert sizes == {
        "": pytest.approx(16.4, abs=0.05),
        "-FP8": pytest.approx(9.4, abs=0.05),
        "-AWQ": pytest.approx(6.1, abs=0.05),
    }


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("qwen3-8b", Weights.BITS16),
        ("someone/Qwen3-8B-FP8-dynamic", Weights.FP8),
        ("Qwen/Qwen3-8B-GPTQ-Int8", Weights.INT8),
        ("Qwen/Qwen3-8B-GPTQ-Int4", Weights.INT4),
        ("RedHatAI/Qwen3-8B-quantized.w4a16", Weights.INT4),
        ("RedHatAI/Qwen3-8B-quantized.w8a8", Weights.INT8),
        ("/models/Qwen3-8B/", Weights.BITS16),
    ],
)
def test_names_are_matched_loosely_and_say_how_weights_are_stored(book, name, weights):
    found = book.find(name)
    assert (found.name, found.layers, found.weights) == (name, 36, weights)


def test_what_is_not_known_is_not_guessed(book):
    assert [book.find(name) for name in ("llama", "Qwen3-9B", "gpt-oss-20b", "Qwen3-8B-GGUF", "")] == [None] * 5


def test_equally_fast_are_only_names_of_the_same_model_and_quantisation():
    assert same_model("Qwen/Qwen3-8B", "qwen3-8b")
    assert not same_model("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-AWQ")
    assert not same_model("Qwen/Qwen3-8B", "Qwen/Qwen3-4B")
    assert not same_model("chat", "base")


def test_every_model_of_the_catalog_is_found_by_its_own_name(book):
    assert [book.find(model.name) for model in book.models] == list(book.models)
    assert all(model.source for model in book.models)


@pytest.fixture
def folder(tmp_path):
    def write(**changes):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
        return tmp_path / "config.json"

    return write


def test_a_folder_tells_its_own_shape(book, folder):
    path = folder()
    assert find_config(str(path.parent), {}) == path
    found = read_config(path, str(path.parent))
    assert (found.parameters, found.kv_bytes_per_token) == (book.find("Qwen3-1.7B").parameters, 114_688)
    assert read_config(folder(quantization_config={"quant_method": "awq", "bits": 4}), "x").weights is Weights.INT4
    assert read_config(folder(quantization_config={"quant_method": "fp8"}), "x").weights is Weights.FP8


def test_heads_that_a_config_leaves_out_follow_from_the_others(folder):
    found = read_config(folder(head_dim=None, num_key_value_heads=None), "x")
    assert (found.head_dim, found.kv_heads) == (128, 16)


def test_a_model_in_the_local_cache_is_found_without_network(tmp_path):
    snapshot = tmp_path / "hub" / "models--me--mine" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert find_config("me/mine", {"HF_HOME": str(tmp_path)}) == snapshot / "config.json"
    assert find_config("me/other", {"HF_HOME": str(tmp_path)}) is None
    assert find_config("../mine", {"HF_HOME": str(tmp_path)}) is None
    assert find_config(str(tmp_path), {}) is None


def test_an_architecture_that_cannot_be_computed_is_unknown(folder):
    assert read_config(folder(kv_lora_rank=512), "x") is None
    assert read_config(folder(quantization_config={"quant_method": "mxfp4"}), "x") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 0}, "'num_hidden_layers' is 0"),
        ({"vocab_size": "many"}, "'vocab_size' is 'many'"),
        ({"hidden_size": None}, "'hidden_size' is None"),
        ({"num_experts": 4, "num_experts_per_tok": 8}, "more experts for a token than it has"),
    ],
)
def test_a_config_with_holes_is_refused(folder, changes, words):
    with pytest.raises(BadValueError, match=words):
        read_config(folder(**changes), "x")


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadValueError, match=r"config\.json"):
        read_config(tmp_path / "config.json", "x")
