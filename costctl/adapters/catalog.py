"""The catalog that ships with costctl: prices, kinds of GPU and language models, each with its source."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING

from costctl import resources
from costctl.domain.gpu_models import GpuModel, GpuModels
from costctl.domain.models import ModelBook, ModelFacts
from costctl.domain.pricelists import read_catalog

if TYPE_CHECKING:
    from costctl.domain.offers import Offer


def catalog_offers() -> list[Offer]:
    """Return all offers of the catalog."""
    return read_catalog((resources.folder("catalog") / "prices.csv").read_text(encoding="utf-8"))


def gpu_models() -> GpuModels:
    """Return all kinds of GPU that there are facts of."""
    with (resources.folder("catalog") / "gpus.csv").open(encoding="utf-8", newline="") as file:
        return GpuModels(tuple(_gpu(row) for row in csv.DictReader(file)))


def model_book() -> ModelBook:
    """Return all language models that there are facts of."""
    with (resources.folder("catalog") / "models.csv").open(encoding="utf-8", newline="") as file:
        return ModelBook(tuple(_model(row) for row in csv.DictReader(file)))


def _gpu(row: dict[str, str]) -> GpuModel:
    major, _, minor = row["compute_capability"].partition(".")
    return GpuModel(
        name=row["gpu"],
        vram_gib=int(row["vram_gib"]),
        usable_gib=Decimal(row["usable_gib"]),
        memory_bandwidth_gb_s=Decimal(row["memory_bandwidth_gb_s"]),
        fp16_dense_tflops=Decimal(row["fp16_dense_tflops"]),
        fp8_dense_tflops=Decimal(row["fp8_dense_tflops"]) if row["fp8_dense_tflops"] else None,
        bf16=row["bf16"] == "yes",
        compute_capability=(int(major), int(minor)),
        tdp_w=int(row["tdp_w"]),
        nvml_names=tuple(row["nvml_names"].split("|")),
        source=row["source"],
    )


def _model(row: dict[str, str]) -> ModelFacts:
    return ModelFacts(
        name=row["model"],
        hidden_size=int(row["hidden_size"]),
        layers=int(row["layers"]),
        heads=int(row["heads"]),
        kv_heads=int(row["kv_heads"]),
        head_dim=int(row["head_dim"]),
        intermediate_size=int(row["intermediate_size"]),
        vocabulary=int(row["vocabulary"]),
        is_tied=row["tied"] == "yes",
        native_context=int(row["native_context"]),
        experts=int(row["experts"] or 1),
        experts_per_token=int(row["experts_per_token"] or 1),
        source=row["source"],
    )
