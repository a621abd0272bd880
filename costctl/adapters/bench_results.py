"""Results of `vllm bench serve --save-result`, as files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from costctl.domain.roofline import Traffic
from costctl.domain.workload import Measure
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 100 * 2**20
"""Results with `--save-detailed` can be large; what is larger than this is something else."""
_LONGEST_S = 366 * 86_400
_DATE = "%Y%m%d-%H%M%S"


def read_bench_result(path: Path, *, gpu: str, gpu_count: int = 1, model: str | None = None) -> Measure:
    """Return the benchmark in the file at `path`, which does not say on which GPU it was made.

    Args:
        path: a JSON object, as vLLM writes it.
        gpu: the GPU's name in the catalog.
        gpu_count: how many of them.
        model: what to call the model, instead of the file's `model_id`.

    Raises:
        BadValueError: it cannot be read, or is no such result.
    """
    result = _load(path)
    try:
        return _measure(result, gpu, gpu_count, model, source=f"vllm bench serve: {path.name}")
    except BadValueError as error:
        raise BadValueError(f"{path} is no result of `vllm bench serve --save-result`: {error}") from None


def _measure(result: Mapping[str, Any], gpu: str, gpu_count: int, model: str | None, *, source: str) -> Measure:
    seconds = _number(result, "duration")
    if not 0 < seconds <= _LONGEST_S:
        raise BadValueError(f"its duration is {seconds:g} seconds")
    traffic = Traffic(
        requests=_count(result, "completed"),
        prompt_tokens=_count(result, "total_input_tokens"),
        generation_tokens=_count(result, "total_output_tokens"),
    )
    if not traffic.generation_tokens:
        raise BadValueError("no token was written, so all requests failed")
    return Measure(
        model=model or _text(result, "model_id"),
        gpu=gpu,
        gpu_count=gpu_count,
        traffic=traffic,
        busy=timedelta(seconds=seconds),
        measured_at=_date(result),
        is_benchmark=True,
        concurrency=None if result.get("max_concurrency") is None else _count(result, "max_concurrency", least=1),
        source=source,
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadValueError(f"{path} is too large for the result of a benchmark")
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadValueError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(result, dict):
        raise BadValueError(f"{path} is no result of `vllm bench serve --save-result`: it is not a JSON object")
    return result


def _number(result: Mapping[str, Any], key: str) -> float:
    value = result.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValueError(f"{key!r} is missing" if value is None else f"{key!r} is {value!r}, not a number")
    return value


def _count(result: Mapping[str, Any], key: str, least: int = 0) -> int:
    value = _number(result, key)
    if not least <= value < 2**63 or value != int(value):
        raise BadValueError(f"{key!r} is {value!r}, not a whole number from {least}")
    return int(value)


def _text(result: Mapping[str, Any], key: str) -> str:
    value = result.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadValueError(f"{key!r} is missing")
    return value.strip()


def _date(result: Mapping[str, Any]) -> datetime:
    """Return when it was made: the file's `date` in this machine's time, which is how vLLM writes it."""
    try:
        return datetime.strptime(_text(result, "date"), _DATE).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValueError(f"'date' is {result.get('date')!r}, not like 20260131-235959") from None
