import asyncio
import shutil
from datetime import UTC, datetime, timedelta

from bench import Bench, adds_up
from fakes.clock import FakeClock, InlineThreads, settle
from fakes.surroundings import GIB
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costctl.domain.lifecycle import EngineState
from costctl.domain.sessions import EndReason
from costctl.domain.stored_answers import Tokens
from costctl.ledger.store import Ledger


async def ready(bench):
    await bench.machine.get_ready()


async def stop(bench):
    bench.supervisor.stop("idle")
    await settle()


# --- phases ----------------------------------------------------------------------------------------------------------


async def test_every_second_of_a_life_has_its_phase(bench):
    await bench.clock.advance(60)
    bench.supervisor.start()
    await bench.clock.advance(29.75)
    bench.machine.api.up = True  # it is asked every quarter of a second
    await bench.clock.advance(10.25)
    await bench.one_request(20)
    await bench.clock.advance(40)
    bench.machine.launcher.process.swallowed_terms = 1
    bench.supervisor.stop("idle")
    await bench.clock.advance(2)
    await bench.clock.advance(8)
    assert bench.phases() == [
        ("off", 60.0),
        ("starting", 30.0),
        ("idle", 10.0),
        ("busy", 20.0),
        ("idle", 40.0),
        ("stopping", 2.0),
        ("off", 8.0),
    ]
    assert adds_up(bench.peek())


async def test_phases_with_an_engine_name_its_run_from_the_start_to_the_stop(bench):
    await bench.clock.advance(5)
    for _ in range(2):
        bench.machine.api.up = False
        bench.supervisor.start()
        await bench.clock.advance(10)
        bench.machine.api.up = True
        await bench.clock.advance(5)
        bench.machine.launcher.process.swallowed_terms = 1
        bench.supervisor.stop("idle")
        await bench.clock.advance(10)
    assert [(str(span.phase), span.run) for span in bench.session().phases] == [
        ("off", None),
        ("starting", 1),
        ("idle", 1),
        ("stopping", 1),
        ("off", None),
        ("starting", 2),
        ("idle", 2),
        ("stopping", 2),
        ("off", None),
    ]


async def test_a_gap_of_less_than_a_second_between_requests_is_busy(bench):
    await ready(bench)
    await bench.clock.advance(10)
    for _ in range(5):
        await bench.one_request(3)
        await bench.clock.advance(0.9)
    await bench.clock.advance(10)
    assert bench.phases() == [("idle", 10.0), ("busy", 5 * 3 + 4 * 0.9), ("idle", 10.9)]


async def test_a_gap_of_a_second_is_idle_from_the_last_byte(bench):
    await ready(bench)
    await bench.clock.advance(10)
    await bench.one_request(3)
    await bench.clock.advance(1)
    await bench.one_request(3)
    assert bench.phases()[:4] == [("idle", 10.0), ("busy", 3.0), ("idle", 1.0), ("busy", 3.0)]


async def test_requests_that_overlap_are_one_busy_stretch(bench):
    await ready(bench)
    await bench.supervisor.enter()
    await bench.clock.advance(5)
    await bench.supervisor.enter()
    bench.supervisor.leave()
    await bench.clock.advance(5)
    bench.supervisor.leave()
    await bench.clock.advance(5)
    assert bench.phases() == [("busy", 10.0), ("idle", 5.0)]


async def test_an_idle_stretch_that_no_beat_has_seen_is_written_when_the_engine_stops(bench):
    await ready(bench)
    await bench.one_request(5)
    await bench.clock.advance(7)
    await stop(bench)
    assert bench.phases()[:2] == [("busy", 5.0), ("idle", 7.0)]


async def test_a_beat_writes_the_idle_stretch_that_began_since(bench):
    await ready(bench)
    await bench.one_request(5)
    await bench.clock.advance(7)
    bench.recorder.beat()
    assert [(str(span.phase), span.length.total_seconds()) for span in bench.peek().phases] == [
        ("busy", 5.0),
        ("idle", 7.0),
    ]


async def test_a_stuck_engine_is_still_stopping_and_billed(bench):
    bench.machine.launcher.traits = {"swallowed_terms": 99, "survives_kill": True}
    await ready(bench)
    await bench.clock.advance(10)
    bench.supervisor.stop("idle")
    await bench.clock.advance(600)
    assert bench.phases() == [("idle", 10.0), ("stopping", 600.0)]


async def test_a_wall_clock_that_is_set_back_changes_nothing(bench):
    await ready(bench)
    await bench.clock.advance(10)
    bench.clock.step_wall_clock(-86400)
    await bench.one_request(5)
    bench.clock.step_wall_clock(+200_000)
    await bench.clock.advance(10)
    assert bench.phases() == [("idle", 10.0), ("busy", 5.0), ("idle", 10.0)]


# --- runs ------------------------------------------------------------------------------------------------------------


async def test_a_run_is_written_down_from_before_its_launch_to_its_end(bench):
    bench.supervisor.start()
    await settle()
    bench.peek()
    (run,) = bench.ledger.engine_runs(bench.opening.session_id)
    assert (run.number, run.engine, run.model, run.command, run.ready_at, run.ended_at) == (
        *(1, "fake", "tiny", ("fake-engine",)),
        *(None, None),
    )
    await bench.clock.advance(20)
    bench.machine.api.up = True
    await bench.clock.advance(10)
    await stop(bench)
    bench.peek()
    (run,) = bench.ledger.engine_runs(bench.opening.session_id)
    assert (run.start_seconds, run.outcome, run.detail) == (20.25, "stopped", None)
    assert sum(run.startup_seconds.values()) == 20.25


async def test_a_crash_is_written_down_with_its_diagnosis(bench):
    await ready(bench)
    bench.machine.process.exit(signal=9)
    await settle()
    bench.peek()
    (run,) = bench.ledger.engine_runs(bench.opening.session_id)
    assert run.outcome == "crashed"
    assert "signal 9" in run.detail


# --- usage and GPUs --------------------------------------------------------------------------------------------------


async def test_usage_is_kept_by_the_hour_in_which_it_happened(bench):
    await ready(bench)
    for _ in range(3):
        bench.machine.api.work(prompt=10, generation=4)
        await bench.one_request(1200)
    bench.session()
    usage = bench.ledger.usage(bench.opening.session_id)
    hour = datetime(2026, 1, 15, 12, tzinfo=UTC)
    assert [(one.hour_at, one.requests, one.prompt_tokens, one.generation_tokens) for one in usage] == [
        (hour, 2, 30, 12),
        (hour + timedelta(hours=1), 1, 0, 0),
    ]


async def test_what_the_cache_saved_is_kept_by_the_hour_in_which_it_happened(bench):
    for _ in range(2):
        bench.recorder.answer_found("m", Tokens(prompt=10, generation=4))
        bench.recorder.answer_missed("m")
        await bench.clock.advance(1800)
    bench.recorder.answer_found("m", Tokens(generation=1))
    bench.session()
    hour = datetime(2026, 1, 15, 12, tzinfo=UTC)
    cached = bench.ledger.cached_between(hour, hour + timedelta(hours=2))
    assert [(one.hour_at, one.hits, one.misses, one.prompt_tokens, one.generation_tokens) for one in cached] == [
        (hour, 2, 2, 20, 8),
        (hour + timedelta(hours=1), 1, 0, 0, 1),
    ]
    assert bench.ledger.usage(bench.opening.session_id) == []


async def test_gpu_minutes_are_means_and_peaks(bench):
    gpus = bench.machine.gpus
    for used in (1, 3, 2):
        gpus.used = used * GIB
        bench.recorder.gpus_read(gpus.read())
        await bench.clock.advance(25)
    bench.session()
    (minute,) = bench.ledger.gpu_minutes(bench.opening.session_id)
    assert (minute.minute_at, minute.gpu, minute.utilisation_percent, minute.memory_used_bytes) == (
        *(datetime(2026, 1, 15, 12, tzinfo=UTC), "A10G"),
        *(50, 3 * GIB),
    )
    assert minute.power_milliwatts == 100_000


async def test_a_minute_that_is_not_over_is_written_when_the_session_closes(bench):
    bench.recorder.gpus_read(bench.machine.gpus.read())
    bench.recorder.beat()
    bench.peek()
    assert bench.ledger.gpu_minutes(bench.opening.session_id) == []
    bench.recorder.close_session(EndReason.STOPPED)
    bench.peek()
    assert len(bench.ledger.gpu_minutes(bench.opening.session_id)) == 1


# --- the session -----------------------------------------------------------------------------------------------------


async def test_a_closed_session_ends_where_it_was_closed(bench):
    await bench.clock.advance(30)
    bench.recorder.close_session(EndReason.STOPPED)
    await bench.clock.advance(30)
    bench.recorder.beat()
    session = bench.peek()
    assert (session.length.total_seconds(), session.end_reason) == (30.0, EndReason.STOPPED)
    assert adds_up(session)


async def test_a_session_that_is_taken_up_again_has_no_hole(bench):
    await bench.clock.advance(30)
    bench.recorder.close_session(EndReason.IDLE)
    await bench.clock.advance(5)
    bench.recorder.reopen_session()
    await bench.clock.advance(10)
    assert bench.phases() == [("off", 30.0), ("unknown", 5.0), ("off", 10.0)]
    assert adds_up(bench.peek())


async def test_a_heartbeat_keeps_the_session_known_until_now(bench):
    await bench.clock.advance(100)
    bench.recorder.beat()
    assert bench.peek().length.total_seconds() == 100.0


AT_REST = (EngineState.OFF, EngineState.FAILED, EngineState.STUCK)

# --- any life --------------------------------------------------------------------------------------------------------

lives = st.lists(
    st.sampled_from(
        [
            "start",
            "up",
            "down",
            "enter",
            "leave",
            "stop",
            "crash",
            "stick",
            "beat",
            "gpu",
            "close",
            "reopen",
            "0.3 s",
            "2 s",
            "20 s",
            "70 s",
        ]
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives)
def test_whatever_happens_the_phases_are_the_session_and_the_ledger_is_consistent(tmp_path, empty_ledger, moves):
    path = shutil.copy(empty_ledger, tmp_path / "any.db")
    with Ledger.open(f"sqlite:///{path}") as ledger:
        asyncio.run(play(Bench(ledger, FakeClock(), most_waiting=5), moves))


async def play(bench, moves):
    asyncio.get_running_loop().set_default_executor(InlineThreads())
    player = Player(bench)
    for move in moves:
        await player.make(move)
    bench.supervisor.stop("the end", closing=True)
    for waiting in player.waiting:
        waiting.cancel()
    await bench.close()
    (session,) = bench.ledger.sessions()
    assert bench.writer.dropped == 0
    assert bench.ledger.check() == []
    assert adds_up(session)


class Player:
    """Makes moves that make sense where the daemon stands, and passes over the others."""

    def __init__(self, bench):
        self.bench = bench
        self.waiting = []
        self.closed = False

    async def make(self, move):
        bench, machine = self.bench, self.bench.machine
        if move.endswith(" s"):
            await bench.clock.advance(float(move.removesuffix(" s")))
        elif move in ("up", "down"):
            machine.api.up = move == "up"
        elif move == "enter":
            self.waiting.append(asyncio.create_task(bench.supervisor.enter()))
            self.waiting[-1].add_done_callback(lambda task: task.cancelled() or task.exception())
        elif move == "leave" and bench.supervisor.lifecycle.in_flight:
            bench.supervisor.leave()
        elif move == "start":
            bench.supervisor.start()
        elif move == "stop":
            bench.supervisor.stop("test")
        elif move == "stick":
            machine.launcher.traits = {"swallowed_terms": 99, "survives_kill": True}
        elif move == "crash" and machine.launcher.processes:
            machine.process.exit(signal=9)
        else:
            self.write(move)
        await settle()

    def write(self, move):
        recorder, gpus = self.bench.recorder, self.bench.machine.gpus
        match move:
            case "beat":
                recorder.beat()
            case "gpu":
                recorder.gpus_read(gpus.read())
            case "close" if self.bench.supervisor.lifecycle.state in AT_REST and not self.closed:
                self.bench.supervisor.stop("idle", closing=True)
                recorder.close_session(EndReason.IDLE)
                self.closed = True
            case "reopen" if self.closed:
                recorder.reopen_session()
                self.bench.supervisor.reopen()
                self.closed = False
