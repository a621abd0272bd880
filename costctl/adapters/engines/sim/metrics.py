"""`/metrics`: vLLM's names and labels, in the text that prometheus_client prints."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
BUCKETS_SECONDS = (0.001, 0.01, 0.02, 0.04, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 40.0, 160.0)


@dataclass(kw_only=True, slots=True)
class Counters:
    """Everything that only grows."""

    created_at: float
    prompt_tokens: int = 0
    generation_tokens: int = 0
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISH_REASONS, 0))
    first_token_seconds_sum: float = 0.0
    first_token_counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))

    def note_first_token(self, seconds: float) -> None:
        """Count a first token that came after `seconds`."""
        self.first_token_seconds_sum += seconds
        self.first_token_counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """Everything that goes up and down."""

    running: int
    waiting: int
    kv_cache_usage: float
    sleep_state: str


def render(model: str, counters: Counters, gauges: Gauges) -> str:
    """Return the whole page."""
    page = _Page(model, counters.created_at)
    page.gauge("num_requests_running", "Number of requests in model execution batches.", gauges.running)
    page.gauge("num_requests_waiting", "Number of requests waiting to be processed.", gauges.waiting)
    states = {f'sleep_state="{state}"': int(state == gauges.sleep_state) for state in SLEEP_STATES}
    page.family("engine_sleep_state", "gauge", "Engine sleep state.", states)
    page.gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", gauges.kv_cache_usage)
    page.counter("prompt_tokens", "Number of prefill tokens processed.", {"": counters.prompt_tokens})
    page.counter("generation_tokens", "Number of generation tokens processed.", {"": counters.generation_tokens})
    finished = {f'finished_reason="{reason}"': count for reason, count in counters.finished.items()}
    page.counter("request_success", "Count of successfully processed requests.", finished)
    page.histogram("time_to_first_token_seconds", "Histogram of time to first token in seconds.", counters)
    return str(page)


class _Page:
    def __init__(self, model: str, created_at: float) -> None:
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self._model = f'model_name="{escaped}"'
        self._created_at = created_at
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def gauge(self, name: str, help_text: str, value: float) -> None:
        self.family(name, "gauge", help_text, {"": value})

    def counter(self, name: str, help_text: str, values: dict[str, int]) -> None:
        self.family(f"{name}_total", "counter", help_text, values)
        self.family(f"{name}_created", "gauge", help_text, dict.fromkeys(values, self._created_at))

    def histogram(self, name: str, help_text: str, counters: Counters) -> None:
        self._head(name, "histogram", help_text)
        for bound, count in _cumulated(counters.first_token_counts):
            self._sample(f"{name}_bucket", f'le="{bound}"', count)
        self._sample(f"{name}_count", "", sum(counters.first_token_counts))
        self._sample(f"{name}_sum", "", counters.first_token_seconds_sum)
        self.family(f"{name}_created", "gauge", help_text, {"": self._created_at})

    def family(self, name: str, kind: str, help_text: str, values: dict[str, float] | dict[str, int]) -> None:
        self._head(name, kind, help_text)
        for label, value in values.items():
            self._sample(name, label, value)

    def _head(self, name: str, kind: str, help_text: str) -> None:
        self._lines += (f"# HELP vllm:{name} {help_text}", f"# TYPE vllm:{name} {kind}")

    def _sample(self, name: str, label: str, value: float) -> None:
        # prometheus_client sorts labels by name.
        labels = ",".join(sorted(part for part in ('engine="0"', self._model, label) if part))
        self._lines.append(f"vllm:{name}{{{labels}}} {float(value)!r}")


def _cumulated(counts: list[int]) -> Iterator[tuple[str, int]]:
    total = 0
    for bound, count in zip([*map(str, BUCKETS_SECONDS), "+Inf"], counts, strict=True):
        total += count
        yield bound, total
