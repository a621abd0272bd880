import subprocess
from pathlib import Path

import psutil
import pytest

from costctl.adapters.processes.leftovers import end_leftovers

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def ticks(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.fixture
def engine():
    """A server that leads a session, with one helper."""
    with subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo up; wait"], start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        helpers = psutil.Process(process.pid).children()
        yield process
        for helper in helpers:
            if helper.is_running():
                helper.kill()
        process.kill()


@pytest.fixture
def record(tmp_path):
    return tmp_path / "engine.pid"


def test_an_engine_of_a_killed_daemon_is_ended_with_its_helpers(engine, record):
    record.write_text(f"{engine.pid} {ticks(engine.pid)} {BOOT}\n")
    family = [psutil.Process(engine.pid), *psutil.Process(engine.pid).children()]
    assert set(end_leftovers(record)) == {process.pid for process in family}
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert not record.exists()


def test_helpers_are_ended_when_their_server_is_gone_already(engine, record):
    (helper,) = psutil.Process(engine.pid).children()
    record.write_text(f"{engine.pid} {ticks(engine.pid)} {BOOT}\n")
    engine.kill()
    engine.wait()
    assert end_leftovers(record) == (helper.pid,)


def test_a_number_that_another_program_has_now_is_not_touched(engine, record):
    record.write_text(f"{engine.pid} {ticks(engine.pid) - 1} {BOOT}\n")
    assert end_leftovers(record) == ()
    assert engine.poll() is None


def test_a_record_of_an_earlier_boot_touches_nothing(engine, record):
    record.write_text(f"{engine.pid} {ticks(engine.pid)} 00000000-0000-0000-0000-000000000000\n")
    assert end_leftovers(record) == ()
    assert engine.poll() is None


@pytest.mark.parametrize("text", ["", "garbage", "1 2", f"x y {BOOT}", "\udcff".encode("utf-8", "surrogateescape")])
def test_a_damaged_record_touches_nothing(record, text):
    record.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert end_leftovers(record) == ()


def test_without_a_record_there_is_nothing_to_end(record):
    assert end_leftovers(record) == ()
