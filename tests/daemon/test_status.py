import json

import pytest
from bench import Bench
from fakes.clock import START, settle

from costctl.daemon.status import StatusView
from costctl.domain.money import accrued, parse_price

FACTS = {"version": "1.2.3", "model": "tiny"}


def view(bench):
    return StatusView(
        supervisor=bench.supervisor,
        activity=bench.machine.activity,
        recorder=bench.recorder,
        writer=bench.writer,
        batches=bench.batches,
        clock=bench.clock,
        cost_so_far=lambda opening, now: opening.price and accrued(opening.price, now - opening.started_at),
        facts=FACTS,
    )


def read(bench):
    """Return the status as another program gets it."""
    return json.loads(json.dumps(view(bench).read()))


async def look(bench):
    bench.supervisor.consider(await bench.machine.activity.read())


@pytest.fixture
async def priced(inline_threads, clock, ledger):
    made = Bench(ledger, clock, price=parse_price("3.6 CNY/h", source="flag", dated=START))
    yield made
    await made.close()


async def test_a_daemon_that_waits_says_so(bench):
    await bench.clock.advance(600)
    status = read(bench)
    assert (status["schema"], status["version"], status["model"]) == ("costctl.status/1", "1.2.3", "tiny")
    assert status["engine"] == {
        "state": "off",
        "seconds_in_state": 600.0,
        "in_flight": 0,
        "waiting": 0,
        "reason": None,
        "retry_after_seconds": None,
        "pid": None,
        "counters": None,
        "start": None,
        "failure": None,
    }
    assert status["idle"]["why"] == "idle for 10m, stops in 20m"
    assert (status["idle"]["idle_seconds"], status["idle"]["stops_in_seconds"]) == (600.0, 1200.0)
    assert view(bench).headline() == "engine off; idle for 10m, stops in 20m"


async def test_a_start_tells_what_it_waits_for_and_how_long_that_usually_takes(inline_threads, clock, ledger):
    bench = Bench(ledger, clock, earlier_starts_s=(90.0,))
    bench.supervisor.start()
    await clock.advance(12)
    bench.machine.launcher.say("INFO Starting to load model tiny...")
    status = read(bench)
    assert status["engine"]["start"] == {"phase": "weights", "elapsed_seconds": 12.0, "usual_seconds": 90.0}
    assert status["idle"]["why"] == "the engine is starting"
    assert status["idle"]["stops_in_seconds"] is None
    await bench.close()


async def test_a_failure_is_told_with_its_advice_and_the_engines_last_lines(bench):
    bench.supervisor.start()
    await settle()
    for number in range(9):
        bench.machine.launcher.say(f"line {number}")
    bench.machine.launcher.say("api_server.py: error: unrecognized arguments: --max-modle-len")
    bench.machine.process.exit(code=2)
    await settle()
    engine = read(bench)["engine"]
    assert (engine["state"], engine["retry_after_seconds"]) == ("failed", 2.0)
    assert engine["failure"]["kind"] == "bad_argument"
    assert engine["failure"]["last_lines"][0] == "line 5"
    assert engine["failure"]["summary"]
    assert engine["failure"]["advice"]


async def test_a_failure_that_no_log_explains_is_told_in_words_too(bench):
    bench.machine.api.owner = 4242
    await bench.machine.get_ready()
    failure = read(bench)["engine"]["failure"]
    assert failure["kind"] == "unknown"
    assert "process 4242, which costctl did not start" in failure["summary"]


async def test_the_session_tells_what_it_has_cost_so_far(priced):
    await priced.clock.advance(600)
    session = read(priced)["session"]
    assert (session["seconds"], session["phase"], session["price_per_hour"]) == (600, "off", "3.60")
    assert (session["cost"], session["currency"], session["price_source"]) == ("0.600000", "CNY", "flag")


async def test_without_a_price_there_is_no_cost(bench):
    session = read(bench)["session"]
    assert (session["cost"], session["price_per_hour"], session["currency"]) == (None, None, None)


async def test_gpus_and_signals_are_told_as_they_were_last_seen(bench):
    await bench.machine.get_ready()
    bench.machine.gpus.busy(4242)
    bench.machine.logins.problem = "the login records: permission denied"
    await look(bench)
    status = read(bench)
    assert status["gpus"][0] | {"memory_used_mib": 0} == {
        "index": 0,
        "name": "A10G",
        "memory_used_mib": 0,
        "memory_total_mib": 24 * 1024,
        "utilisation_percent": 50,
        "power_watts": 100,
        "processes": 1,
    }
    assert [(signal["name"], signal["active"]) for signal in status["idle"]["signals"]] == [
        ("logins", None),
        ("engine counters", False),
        ("other GPU programs", True),
    ]
    assert status["warnings"] == ["logins cannot be read, which counts as active: the login records: permission denied"]


async def test_what_could_not_be_verified_is_a_warning(bench):
    await bench.machine.get_ready()
    bench.machine.gpus.problem = "NVML: GPU is lost"
    bench.supervisor.stop("idle")
    await settle()
    assert read(bench)["warnings"] == ["GPU memory could not be read after the stop, so its return was not verified"]


async def test_reading_the_status_changes_nothing(bench):
    before = bench.supervisor.lifecycle
    read(bench)
    assert bench.supervisor.lifecycle is before
