"""The benchmarks of this process's ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.adapters.bench_results import read_bench_result
from costctl.adapters.catalog import gpu_models
from costctl.errors import LedgerMissingError
from costctl.wiring import load_settings, read_ledger
from costctl.wiring.prices import writable_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from costctl.domain.workload import Measure


def import_benchmark(path: Path, *, gpu: str, gpu_count: int, model: str | None) -> tuple[int, Measure]:
    """Add the benchmark in the file at `path`; return its number and itself.

    Raises:
        BadValueError: no such GPU, or no such file.
        RefusedError: it is there already.
        CostctlError: the ledger cannot be written.
    """
    benchmark = read_bench_result(path, gpu=gpu_models().named(gpu).name, gpu_count=gpu_count, model=model)
    with writable_ledger(load_settings({}).settings) as ledger:
        return ledger.add_benchmark(benchmark), benchmark


def all_benchmarks() -> list[Measure]:
    """Return all benchmarks. Raises LedgerError."""
    try:
        with read_ledger() as ledger:
            return ledger.benchmarks()
    except LedgerMissingError:
        return []


def remove_benchmark(number: int) -> Measure:
    """Take away the benchmark with this number and return it. Raises LedgerError, CostctlError."""
    with writable_ledger(load_settings({}).settings) as ledger:
        return ledger.remove_benchmark(number)
