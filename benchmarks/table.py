"""Rounds of numbers to one Markdown page: medians, ratios, and what machine they are from."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import page
from measure import CONNECTIONS, EVENTS, INTERVAL_MS, STREAM_CONNECTIONS, Numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRECT = "direct"
OURS = "costctl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything a run found: facts of the machine, rounds by door, doors that took no part and why."""

    facts: Mapping[str, str]
    rounds: Mapping[str, Sequence[Numbers]]
    missing: Mapping[str, str] = field(default_factory=dict)

    def medians(self) -> dict[str, Numbers]:
        """Take the median over the rounds; a delay is what the door added to `direct` in the same round."""
        direct = self.rounds[DIRECT]
        return {door: _medians(rounds, direct) for door, rounds in self.rounds.items() if rounds}

    def times(self, door: str, base: str, name: str) -> str:
        """Say how many times the base door's number this door's is: the median of the rounds that both took part in."""
        pairs = zip(self.rounds[door], self.rounds.get(base, ()), strict=False)
        ratios = [one[name] / other[name] for one, other in pairs if other[name]]
        return page.short(median(ratios)) if ratios else "-"


def _medians(rounds: Sequence[Numbers], direct: Sequence[Numbers]) -> Numbers:
    numbers = {name: median(one[name] for one in rounds) for name in rounds[0]}
    for name in ("delay_p50_us", "delay_p99_us"):
        numbers[f"added_{name}"] = median(one[name] - base[name] for one, base in zip(rounds, direct, strict=False))
    return numbers


def markdown(report: Report) -> str:
    """Render the page."""
    medians = report.medians()
    tables = [_cpu(report, medians), _throughput(report, medians), _delay(medians)]
    return "\n\n".join(part for part in [_facts(report), *tables, _missing(report.missing)] if part)


def _facts(report: Report) -> str:
    rounds = ", ".join(f"{door} {len(rounds)}" for door, rounds in report.rounds.items())
    facts = {**report.facts, "rounds": f"{rounds}; each number is a median of them, each ratio of the rounds' ratios"}
    return page.bullets(facts)


def _cpu(report: Report, medians: Mapping[str, Numbers]) -> str:
    names = [*(f"cpu_ms_per_request_{n}" for n in CONNECTIONS), "cpu_ms_per_stream"]
    rows = []
    for door, numbers in medians.items():
        cells = [f"{numbers[name]:.3f} ({report.times(door, OURS, name)})" for name in names]
        event = f"{numbers['cpu_us_per_event']:.1f} ({report.times(door, OURS, 'cpu_us_per_event')})"
        rows.append([f"{DIRECT} (the upstream's own)" if door == DIRECT else door, *cells, event])
    head = [f"ms per plain request, {n} conn." for n in CONNECTIONS]
    columns = ["front door", *head, f"ms per {EVENTS}-event stream", "us per paced event"]
    return f"CPU of the front door; in brackets, times that of {OURS}\n\n" + page.table(columns, rows)


def _throughput(report: Report, medians: Mapping[str, Numbers]) -> str:
    rows = []
    for door, numbers in medians.items():
        cells = []
        for n in CONNECTIONS:
            name = f"requests_per_s_{n}"
            latency = f"{numbers[f'p50_ms_{n}']:.2f} / {numbers[f'p99_ms_{n}']:.2f}"
            cells += [
                f"{numbers[name]:.0f} ({report.times(door, DIRECT, name)}; {report.times(door, OURS, name)})",
                latency,
            ]
        rows.append([door, *cells])
    columns = ["front door"]
    for n in CONNECTIONS:
        columns += [f"requests/s, {n} conn.", "p50 / p99 ms"]
    title = f"Plain requests by wrk; in brackets, times {DIRECT}; times {OURS}"
    return f"{title}\n\n" + page.table(columns, rows)


def _delay(medians: Mapping[str, Numbers]) -> str:
    rows = [
        [
            door,
            *(f"{numbers[name]:.0f}" for name in ("delay_p50_us", "delay_p99_us")),
            *(f"{numbers[name]:+.0f}" for name in ("added_delay_p50_us", "added_delay_p99_us")),
        ]
        for door, numbers in medians.items()
    ]
    title = (
        f"Delay of a streamed event, from its writing upstream to its arrival at the client: {STREAM_CONNECTIONS} "
        f"streams at once, an event every {INTERVAL_MS} ms each"
    )
    return f"{title}\n\n" + page.table(["front door", "p50 us", "p99 us", "added p50 us", "added p99 us"], rows)


def _missing(missing: Mapping[str, str]) -> str:
    return "\n".join(f"- {door} is not in the tables, or not in every round: {why}" for door, why in missing.items())
