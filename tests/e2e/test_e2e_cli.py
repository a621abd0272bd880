"""The commands as a shell and its user see them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running_costctl import Box

from costctl.cli.root import COMMANDS

HEAVY = {"sqlalchemy", "aiohttp", "rich", "alembic", "pynvml", "psutil", "uvloop", "jinja2", "openai", "asyncio"}
WATCH = (
    "import sys, json\n"
    "from costctl.cli import main\n"
    "try:\n"
    "    main()\n"
    "except SystemExit as end:\n"
    "    code = end.code\n"
    "print('\\n' + json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
)


@pytest.fixture(scope="module")
def served():
    """A box with a daemon that has answered a request, for all who only look."""
    box = Box()
    box.serve("--price", "1.8 CNY/h", "--idle-shutdown", "off")
    box.chat()
    yield box
    box.close()


def imported(box, *arguments):
    """Exit code and the modules that a command imports."""
    done = box.run(*arguments, program=("-c", WATCH))
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["status"], ["stop"], ["logs"]])
def test_quick_commands_import_nothing_heavy(box, arguments):
    _, modules = imported(box, *arguments)
    assert not HEAVY & modules


def test_status_of_a_running_daemon_imports_nothing_heavy_either(served):
    code, modules = imported(served, "status")
    assert code == 0
    assert not HEAVY & modules


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["config", "show"]])
def test_every_command_has_help_with_an_example(box, command):
    done = box.here(*command, "--help")
    said = done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert "costctl" in said
    assert said.isascii()
    assert "xample" in said or command == ["config"]


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_what_is_piped_is_plain_ascii(served, variables):
    commands = (["status"], ["sessions"], ["report"], ["config", "show"])
    outputs = [served.ok(*command, **variables) for command in commands] + [served.daemons[0].said]
    for output in outputs:
        assert output.isascii(), output
        assert "\x1b" not in output


def test_json_is_json(served):
    status = served.status()
    assert status["schema"] == "costctl.status/1"
    assert isinstance(served.json("sessions"), list)
    assert isinstance(served.json("report"), dict)
    assert isinstance(served.json("config", "show"), list)
    (session,) = served.json("sessions")
    fields = {"started_at", "ended_at", "end_reason", "gpu", "price_per_hour", "currency", "cost", "phases"}
    assert fields <= set(session)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(box, shell):
    if shell == "bash":
        done = box.run(_COSTCTL_COMPLETE="bash_complete", COMP_WORDS="costctl st", COMP_CWORD="1")
        assert {line.partition(",")[2] for line in done.stdout.split()} == {"status", "stop"}
        done = box.run(_COSTCTL_COMPLETE="bash_complete", COMP_WORDS="costctl serve --idle", COMP_CWORD="2")
        assert "--idle-shutdown" in done.stdout
    done = box.run(_COSTCTL_COMPLETE=f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert "_COSTCTL_COMPLETE" in done.stdout


def test_debug_shows_the_traceback_and_nothing_else_does(box):
    done = box.run("--debug", "status")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_home_and_config_can_be_given_as_options(box):
    other = box.folder / "other.toml"
    other.write_text('model = "another"\n')
    assert "another" in box.ok("--config", str(other), "config", "show")
    assert str(box.folder / "elsewhere") in box.refused("--home", str(box.folder / "elsewhere"), "status", code=1)


def test_it_is_the_same_program_as_a_module_and_by_name(box):
    by_name = Path(sys.executable).with_name("costctl")
    assert subprocess.run([by_name, "--version"], check=True, capture_output=True, text=True).stdout == box.ok(
        "--version"
    )
