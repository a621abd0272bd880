"""The shape of a model from its own `config.json`: a local folder, or the local cache of Hugging Face; no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.domain.models import ModelFacts, Weights
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUANTISED = {"fp8": Weights.FP8, "fbgemm_fp8": Weights.FP8, "awq": Weights.INT4, "gptq": Weights.INT4}
_EIGHT_BITS = 8
_OTHER_SHAPES = ("kv_lora_rank", "linear_num_value_heads", "mamba_d_state", "ssm_cfg", "layers_block_type")
"""Keys of attention that is compressed or not there at all: such models need less memory than is computed here."""


def find_config(model: str, environ: Mapping[str, str]) -> Path | None:
    """Return the `config.json` of a model given as a folder or as a name in the local cache, None if there is none."""
    if (folder := Path(model)).is_dir():
        return folder / "config.json" if (folder / "config.json").is_file() else None
    hub = hub_folder(model, environ)
    return min((hub / "snapshots").glob("*/config.json"), default=None) if hub else None


def hub_folder(model: str, environ: Mapping[str, str]) -> Path | None:
    """Return where the local cache of Hugging Face has a model, or would have it; None if it is no name of one."""
    if model.count("/") != 1:
        return None
    cache = environ.get("HF_HUB_CACHE") or Path(environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    return Path(cache).expanduser() / f"models--{model.replace('/', '--')}"


def read_config(path: Path, name: str) -> ModelFacts | None:
    """Return the facts of the model called `name`, None if its architecture is another than costctl can compute.

    Raises:
        BadValueError: the file cannot be read, or is no configuration of a model.
    """
    config = _load(path)
    config = config.get("text_config", config)
    if any(config.get(key) for key in _OTHER_SHAPES):
        return None
    weights = _weights(config.get("quantization_config"), name)
    if weights is None:
        return None
    heads = _size(config, "num_attention_heads", path)
    hidden_size = _size(config, "hidden_size", path)
    experts = config.get("num_experts") or config.get("num_local_experts")
    inner = "moe_intermediate_size" if experts and config.get("moe_intermediate_size") else "intermediate_size"
    return ModelFacts(
        name=name,
        hidden_size=hidden_size,
        layers=_size(config, "num_hidden_layers", path),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", path, heads),
        head_dim=_size(config, "head_dim", path, hidden_size // heads),
        intermediate_size=_size(config, inner, path),
        vocabulary=_size(config, "vocab_size", path),
        is_tied=config.get("tie_word_embeddings") is True,
        native_context=_size(config, "max_position_embeddings", path),
        experts=experts or 1,
        experts_per_token=_size(config, "num_experts_per_tok", path) if experts else 1,
        weights=weights,
        source=str(path),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BadValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadValueError(f"{path} is no configuration of a model: it is not a JSON object")
    return config


def _size(config: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadValueError(f"{path} is no configuration of a language model: {key!r} is {value!r}")
    return value


def _weights(quantisation: Any, name: str) -> Weights | None:
    """Return how the weights are stored, None for a method that is not known here."""
    if not isinstance(quantisation, dict):
        return Weights.of_name(name)
    method = str(quantisation.get("quant_method"))
    if method == "compressed-tensors":
        named = Weights.of_name(name)
        return None if named is Weights.BITS16 else named
    return Weights.INT8 if quantisation.get("bits") == _EIGHT_BITS else _QUANTISED.get(method)
