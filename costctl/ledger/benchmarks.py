"""Verbs about benchmarks that were imported."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from costctl.domain.roofline import Traffic
from costctl.domain.workload import Measure
from costctl.errors import LedgerError, RefusedError
from costctl.ledger.schema import BENCHMARKS
from costctl.ledger.transactions import Transactions

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MICROSECOND = timedelta(microseconds=1)
_TRAFFIC = ("requests", "prompt_tokens", "generation_tokens")


class Benchmarks(Transactions):
    """Benchmarks are added and taken away, never changed."""

    def benchmarks(self) -> list[Measure]:
        """Return all benchmarks in the order in which they came."""
        with self._look() as connection:
            return _read(connection)

    def add_benchmark(self, benchmark: Measure) -> int:
        """Add a benchmark and return its id.

        Raises:
            RefusedError: it is there already.
        """
        values = _values(benchmark)
        with self._begin() as connection:
            for known in _read(connection):
                if _values(known) | {"source": benchmark.source} == values:
                    raise RefusedError(f"this benchmark is in the ledger already, as number {known.id}")
            result: Any = connection.execute(insert(BENCHMARKS).values(values))
        return int(result.inserted_primary_key[0])

    def remove_benchmark(self, benchmark_id: int) -> Measure:
        """Take a benchmark away and return it.

        Raises:
            LedgerError: there is none with this id.
        """
        with self._begin() as connection:
            found = next((known for known in _read(connection) if known.id == benchmark_id), None)
            if found is None:
                raise LedgerError(f"the ledger has no benchmark {benchmark_id}: `costctl benchmarks list` shows all")
            connection.execute(delete(BENCHMARKS).where(BENCHMARKS.c.id == benchmark_id))
        return found


def _read(connection: Connection) -> list[Measure]:
    rows = connection.execute(select(*BENCHMARKS.c).order_by(BENCHMARKS.c.id))
    return [
        Measure(
            id=row.id,
            model=row.model,
            gpu=row.gpu,
            gpu_count=row.gpu_count,
            traffic=Traffic(**{name: getattr(row, name) for name in _TRAFFIC}),
            busy=row.duration_us * _MICROSECOND,
            measured_at=row.measured_at,
            is_benchmark=True,
            concurrency=row.max_concurrency,
            source=row.source,
        )
        for row in rows
    ]


def _values(benchmark: Measure) -> dict[str, Any]:
    return {
        "model": benchmark.model,
        "gpu": benchmark.gpu,
        "gpu_count": benchmark.gpu_count,
        "measured_at": benchmark.measured_at,
        "duration_us": benchmark.busy // _MICROSECOND,
        "max_concurrency": benchmark.concurrency,
        "source": benchmark.source,
        **{name: getattr(benchmark.traffic, name) for name in _TRAFFIC},
    }
