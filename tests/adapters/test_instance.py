import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from costctl.adapters.instances.actions import EndDaemon, PowerOff, RunCommand, run_program
from costctl.adapters.instances.identity import read_instance, read_power_on
from costctl.errors import CostctlError, InstanceActionError

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Recorded:
    """Runs nothing: writes down what would be run (Runner), and answers as told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.commands = []

    async def __call__(self, command):
        self.commands.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def missing():
    return FileNotFoundError(2, "No such file or directory")


# --- actions ---------------------------------------------------------------------------------------------------------


async def test_the_first_way_to_power_off_that_works_is_enough():
    run = Recorded(0)
    await PowerOff(run).perform()
    assert run.commands == [("systemctl", "poweroff")]


async def test_the_other_ways_are_tried_in_turn():
    run = Recorded(1, missing(), 0)
    await PowerOff(run).perform()
    assert run.commands == [("systemctl", "poweroff"), ("shutdown", "-h", "now"), ("poweroff",)]


async def test_a_machine_that_cannot_be_powered_off_is_said_with_every_way_that_failed():
    with pytest.raises(InstanceActionError) as caught:
        await PowerOff(Recorded(1, missing(), 127)).perform()
    assert str(caught.value) == (
        "cannot power this machine off (systemctl poweroff: exit code 1; shutdown -h now: No such file or directory; "
        "poweroff: exit code 127): it is still billed"
    )


async def test_a_persons_own_command_is_run_as_words():
    run = Recorded(0)
    action = RunCommand(("stop-box", "--id", "my box"), run)
    await action.perform()
    assert run.commands == [("stop-box", "--id", "my box")]
    assert action.promise == "stop the engine, run `stop-box --id 'my box'` and exit"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "`stop-box` ended with exit code 3: still billed"),
        (missing(), "cannot run stop-box: No such file or directory"),
    ],
)
async def test_a_command_that_fails_is_said(answer, words):
    with pytest.raises(InstanceActionError, match=words):
        await RunCommand(("stop-box",), Recorded(answer)).perform()


async def test_to_end_the_daemon_nothing_is_done():
    await EndDaemon().perform()
    assert "not powered off" in EndDaemon.promise


async def test_a_program_is_run_without_a_shell_and_its_code_comes_back():
    assert await run_program(("sh", "-c", "exit 5")) == 5
    assert await run_program(("echo", "$HOME; exit 3")) == 0


async def test_a_program_that_a_signal_ended_has_not_succeeded():
    assert await run_program(("sh", "-c", "kill -TERM $$")) == -signal.SIGTERM


async def test_a_program_that_takes_too_long_is_ended_and_has_failed():
    assert await run_program(("sleep", "600"), time_limit_s=0.05) == 124


# --- identity --------------------------------------------------------------------------------------------------------


def machine(path):
    return read_instance(path, gpu="A10G", gpu_count=1).machine


def test_a_machine_is_named_once_and_keeps_its_name(tmp_path):
    first = machine(tmp_path / "machine-id")
    assert first.startswith("m-")
    assert machine(tmp_path / "machine-id") == first
    assert machine(tmp_path / "another") != first


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_name_that_a_crash_left_empty_is_made_anew(tmp_path, text):
    path = tmp_path / "machine-id"
    path.write_text(text)
    assert machine(path) == machine(path) != ""


def test_a_name_that_cannot_be_read_or_written_is_said(tmp_path):
    (tmp_path / "machine-id").mkdir()
    with pytest.raises(CostctlError, match="cannot read this machine's name"):
        machine(tmp_path / "machine-id")
    with pytest.raises(CostctlError, match="cannot write this machine's name"):
        machine(tmp_path / "no folder" / "machine-id")


# --- the power-on ----------------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path):
    """A /proc of our own."""

    def make(*, ticks=None, boot="0a0a"):
        (tmp_path / "1").mkdir(exist_ok=True)
        if ticks is not None:
            fields = ["S", *(["0"] * 18), str(ticks)]
            (tmp_path / "1/stat").write_text(f"1 (systemd (x) y) {' '.join(fields)}\n")
        (tmp_path / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
        if boot:
            (tmp_path / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
        return tmp_path

    return make


TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def test_a_machine_is_billed_from_its_boot(proc):
    power_on = read_power_on(NOW, proc=proc(ticks=0), since_boot_s=3600.0)
    assert (power_on.key, power_on.started_at) == ("0a0a/0", NOW - timedelta(hours=1))


def test_a_container_is_billed_from_the_start_of_its_first_process(proc):
    week = 7 * 86400
    power_on = read_power_on(NOW, proc=proc(ticks=week * TICKS_PER_S), since_boot_s=week + 600.0)
    assert power_on.started_at == NOW - timedelta(minutes=10)
    assert power_on.key == f"0a0a/{week * TICKS_PER_S}"


def test_a_container_that_is_started_again_is_another_power_on(proc):
    before = read_power_on(NOW, proc=proc(ticks=100), since_boot_s=3600.0)
    assert read_power_on(NOW, proc=proc(ticks=200), since_boot_s=3600.0).key != before.key


def test_where_process_1_is_hidden_the_boot_is_the_best_that_is_known(proc):
    assert read_power_on(NOW, proc=proc(), since_boot_s=60.0).started_at == NOW - timedelta(minutes=1)


def test_where_the_boot_has_no_name_its_time_is_one_that_stays_the_same(proc):
    nameless = proc(ticks=0, boot=None)
    first = read_power_on(NOW, proc=nameless, since_boot_s=60.0)
    later = read_power_on(NOW + timedelta(seconds=100), proc=nameless, since_boot_s=160.0)
    assert first.key == later.key


def test_nothing_begins_in_the_future(proc):
    power_on = read_power_on(NOW, proc=proc(ticks=1000 * TICKS_PER_S), since_boot_s=10.0)
    assert power_on.started_at == NOW


def test_this_machine_has_a_power_on():
    now = datetime.now(UTC)
    power_on = read_power_on(now)
    assert power_on.started_at <= now
    assert read_power_on(now).key == power_on.key
