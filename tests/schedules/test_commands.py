"""Real processes: one of each name at a time, whatever became of who started it."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from costctl.adapters.commands import CostctlCommands
from costctl.errors import CostctlError

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


@pytest.fixture
def commands(tmp_path):
    return CostctlCommands(tmp_path / "logs" / "schedules", {})


async def start(commands, *arguments, name="nightly", folder="/"):
    return await commands.start(name, arguments, folder=folder, log=commands.log_of(name, NOW), run_id=1)


async def test_its_output_goes_to_the_log_and_its_end_is_known(commands, tmp_path):
    assert commands.runs("nightly") is False
    command = await start(commands, "config", "no-such-thing", folder=str(tmp_path))
    log = commands.log_of("nightly", NOW)
    assert commands.exit_code_of(log) is None
    assert await command.wait() == 2
    assert commands.exit_code_of(log) == 2
    assert commands.log_of("nightly", NOW).name == "nightly-20260131T020000Z.log"
    assert "no-such-thing" in command.last_lines()
    assert commands.runs("nightly") is False


async def test_the_next_does_not_start_while_one_runs_not_even_from_another_process(commands, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = await start(commands, "prices", "import", str(fifo))  # waits for a writer
    assert commands.runs("nightly") is True
    assert await start(commands, "--version") is None
    program = f"""
import pathlib
from costctl.adapters.commands import CostctlCommands
commands = CostctlCommands(pathlib.Path({str(commands._folder)!r}), {{}})
print(commands.runs("nightly"), commands.runs("other"))
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"]
    command.terminate()
    assert await command.wait() == -15
    assert commands.exit_code_of(commands.log_of("nightly", NOW)) is None
    assert (await (await start(commands, "--version")).wait()) == 0


async def test_who_looks_whether_one_runs_keeps_none_from_starting(commands):
    lock = commands._lock("nightly")  # as it is held for the moment of a look
    asyncio.get_running_loop().call_later(0.02, os.close, lock)
    assert (await (await start(commands, "--version")).wait()) == 0


async def test_a_process_that_outlives_who_started_it_keeps_the_next_away(commands, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = f"""
import asyncio, os, pathlib
from costctl.adapters.commands import CostctlCommands
async def main():
    commands = CostctlCommands(pathlib.Path({str(commands._folder)!r}), {{}})
    log = pathlib.Path("/dev/null")
    await commands.start("nightly", ["prices", "import", {str(fifo)!r}], folder="/", log=log, run_id=1)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program])
    assert killed.returncode == -9
    assert commands.runs("nightly") is True
    await asyncio.to_thread(fifo.write_bytes, b"")  # lets it end
    for _ in range(1000):
        if not commands.runs("nightly"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("its end did not free the name")


async def test_a_folder_that_is_gone_is_said(commands):
    with pytest.raises(CostctlError, match=r"cannot start it: .*No such file"):
        await start(commands, "--version", folder="/no/such/folder")
    assert commands.runs("nightly") is False


async def test_only_the_newest_logs_are_kept(commands):
    commands.log_of("x", NOW).parent.mkdir(parents=True)
    others = commands.log_of("nightly-b", NOW)
    others.touch()
    for second in range(60):
        for minute in range(2):
            commands.log_of("nightly", NOW.replace(year=2025, minute=minute, second=second)).touch()
    command = await start(commands, "--version")
    await command.wait()
    kept = sorted(path.name for path in others.parent.glob("nightly-2*.log"))
    assert (len(kept), kept[-1], others.exists()) == (100, commands.log_of("nightly", NOW).name, True)
