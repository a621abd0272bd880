"""A year of believable use, always the same one, written through the ledger's own verbs.

What happens in it is planned in `year_plan.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from year_plan import Planned, planned_year

from costctl.domain.batches import Outcome, Progress
from costctl.domain.sessions import EndReason, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.ledger.store import Ledger

HOUR = timedelta(hours=1)
GIB = 2**30
CACHE_SINCE = datetime(2026, 1, 5, tzinfo=UTC)
BATCH_SPEED = 6
"""How many times the tokens of serving a batch gets out of the same GPU."""


def fill_year(ledger: Ledger) -> None:
    """Write the year into an empty `ledger`."""
    random = Random(20250701)
    with ledger.transaction():
        for planned in planned_year(random):
            _Writing(ledger, planned, random).write()


class _Writing:
    """Writes one session as the daemon would have, verb by verb."""

    def __init__(self, ledger: Ledger, planned: Planned, random: Random) -> None:
        self._ledger = ledger
        self._planned = planned
        self._box = planned.box
        self._random = random
        self._run: int | None = None
        self._session = self._open()

    def write(self) -> None:
        """Write what follows the opening."""
        at = self._planned.started_at.astimezone(UTC)
        was = None
        for phase, length in self._planned.stretches:
            if was is Phase.STARTING:
                self._ready(at, length)
            self._begin(phase, at, at + length)
            at, was = at + length, phase
        self._ledger.heartbeat(self._session, at)
        self._end(at)

    def _open(self) -> int:
        started_at = self._planned.started_at.astimezone(UTC)
        key = self._planned.key or f"boot-{started_at:%Y%m%dT%H%M}"
        self._ledger.close_lost_sessions(machine=self._box.instance.machine, except_key=key)
        return self._ledger.open_session(
            instance_id=self._ledger.register_instance(self._box.instance),
            key=key,
            started_at=started_at,
            at=started_at,
            price=self._box.price,
            phase=Phase.OFF,
            rule=self._box.rule,
        )

    def _begin(self, phase: Phase, at: datetime, until: datetime) -> None:
        match phase:
            case Phase.STARTING:
                self._launch(at)
            case Phase.OFF if self._run:
                self._ledger.end_run(self._session, self._run, at=at, outcome="stopped")
                self._run = None
            case Phase.UNKNOWN:
                self._ledger.heartbeat(self._session, at)
                self._ledger.resume_session(self._session, at=until, price=self._box.price)
                return
        self._ledger.begin_phase(self._session, at=at, phase=phase, run=self._run)
        if phase is Phase.BUSY:
            self._work(at, until)
        if phase in {Phase.BUSY, Phase.IDLE}:
            self._read_gpu(at, busy=phase is Phase.BUSY)

    def _launch(self, at: datetime) -> None:
        self._run = self._ledger.next_run_number(self._session)
        model = self._box.model
        command = ("vllm", "serve", model, "--uds", "/run/costctl/engine.sock", *self._box.arguments)
        self._ledger.begin_run(self._session, self._run, engine="vllm", model=model, command=command, at=at)

    def _ready(self, at: datetime, length: timedelta) -> None:
        shares = {"imports": 0.3, "weights": 0.4, "compile": 0.2, "graphs": 0.1}
        startup = {phase: round(share * length.total_seconds(), 3) for phase, share in shares.items()}
        self._ledger.run_ready(self._session, self._run or 0, at=at, startup=startup)

    def _work(self, at: datetime, until: datetime) -> None:
        """Record the requests of a busy stretch, by the hour; in a batch, as the batch's too."""
        name = self._planned.batch
        batch = name and self._ledger.begin_batch(self._session, name=name, at=at)
        done = [self._usage(begin, end) for begin, end in _by_hour(at, until)]
        if batch:
            requests, prompt, generation = (sum(column) for column in zip(*done, strict=True))
            self._ledger.end_batch(
                batch,
                at=until,
                outcome=Outcome.DONE,
                done=Progress(
                    requests=requests,
                    failed=requests // 100,
                    prompt_tokens=prompt,
                    generation_tokens=generation,
                ),
            )

    def _usage(self, begin: datetime, end: datetime) -> tuple[int, int, int]:
        speed = self._box.tokens_per_s * (BATCH_SPEED if self._planned.batch else 1)
        generation = round((end - begin).total_seconds() * speed * self._random.uniform(0.8, 1.2))
        prompt = round(generation * self._random.uniform(1.5, 4))
        requests = generation // 240 + 1
        self._ledger.add_usage(
            self._session,
            hour_at=begin.replace(minute=0, second=0, microsecond=0),
            model=self._box.model,
            requests=requests,
            prompt_tokens=prompt,
            generation_tokens=generation,
        )
        if begin >= CACHE_SINCE and not self._planned.batch:
            self._ledger.add_cached(
                self._session,
                hour_at=begin.replace(minute=0, second=0, microsecond=0),
                model=self._box.model,
                hits=requests * 3 // 5,
                misses=requests * 4 // 5,
                prompt_tokens=prompt * 3 // 5,
                generation_tokens=generation * 3 // 5,
            )
        return requests, prompt, generation

    def _read_gpu(self, at: datetime, *, busy: bool) -> None:
        percent = self._random.randint(60, 99) if busy else 0
        self._ledger.add_gpu_minute(
            self._session,
            minute_at=at.replace(second=0, microsecond=0),
            gpu_index=0,
            gpu=self._box.instance.gpu or "",
            utilisation_percent=percent,
            memory_used_bytes=self._box.memory_gib * GIB,
            power_milliwatts=18_000 + 520 * percent,
        )

    def _end(self, at: datetime) -> None:
        if self._planned.end is EndReason.LOST:
            return  # nobody was there to write it: the next power-on finds it open
        if self._run:
            self._ledger.end_run(self._session, self._run, at=at, outcome="suspended")
        self._ledger.close_session(self._session, at=at, reason=self._planned.end)


def _by_hour(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while begin < end:
        edge = min(end, begin.replace(minute=0, second=0, microsecond=0) + HOUR)
        yield begin, edge
        begin = edge
