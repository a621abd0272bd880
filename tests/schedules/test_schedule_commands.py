"""`costctl schedule` as people type it, in a home of its own and without a daemon."""

import contextlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.errors import BadValueError, CostctlError, LedgerError, RefusedError
from costctl.ledger.store import Ledger

NIGHTLY = ("add", "nightly", "--cron", "0 2 * * *", "--tz", "Europe/Berlin")


@pytest.fixture
def home(tmp_path, empty_ledger):
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(empty_ledger, folder / "ledger.db")
    return folder


@pytest.fixture
def run(home, tmp_path):
    environment = {"COSTCTL_HOME": str(home), "COSTCTL_CONFIG": None, "XDG_CONFIG_HOME": str(tmp_path), "TZ": "UTC"}

    def run(*arguments, error=None, code=0, folder=".", **more):
        run.said = ""
        with contextlib.chdir(tmp_path / folder):
            result = CliRunner().invoke(cli, ["schedule", *arguments], env=environment | more)
        if error is not None:
            assert isinstance(result.exception, error), (result.output, result.exception)
            return str(result.exception)
        assert result.exit_code == code, (result.output, result.exception)
        run.said = result.stderr
        return result.stdout if code == 0 else result.output

    return run


def listed(run):
    return json.loads(run("list", "--json"))


def test_what_was_added_is_listed_with_its_next_run(run):
    assert "nightly runs cron 0 2 * * *, next 20" in run(*NIGHTLY, "--grace", "2h", "--", "sessions", "--json")
    (one,) = listed(run)
    assert (one["name"], one["when"], one["zone"], one["command"]) == (
        "nightly",
        "cron 0 2 * * *",
        "Europe/Berlin",
        ["sessions", "--json"],
    )
    assert (one["grace_seconds"], one["next_run_at"][11:16]) == (7200.0, "02:00")
    assert "sessions --json" in run("list", "--tz", "Asia/Shanghai")
    assert "costctl sessions --json" in run("show", "nightly")
    assert json.loads(run("show", "nightly", "--json"))["last_run"] is None


def test_a_schedule_is_paused_resumed_and_removed(run):
    run(*NIGHTLY, "--", "sessions")
    run("pause", "nightly")
    assert (listed(run)[0]["paused"], listed(run)[0]["next_run_at"]) == (True, None)
    assert "paused" in run("list")
    run("resume", "nightly")
    assert listed(run)[0]["paused"] is False
    run("remove", "nightly")
    assert listed(run) == []
    assert "shows how to add one" in run("list")


def test_a_home_that_is_named_from_here_is_the_same_in_the_schedules_folder(run, home, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    run("add", "look", "--every", "1h", "--", "sessions", folder="elsewhere")
    run("run", "look", COSTCTL_HOME="home")  # which finds no ledger in elsewhere/home


def test_removing_what_runs_says_that_it_goes_on(run, home):
    run(*NIGHTLY, "--", "sessions")
    with Ledger.open(f"sqlite:///{home / 'ledger.db'}") as ledger:
        (made,) = ledger.schedules((home / "machine-id").read_text().strip())
        now = datetime.now(UTC)
        ledger.begin_schedule_run(made.id, due_at=now, at=now, command=(), session_id=None, log="/the/log")
    run("remove", "nightly")
    assert run.said == "a run goes on to its end; its output is in /the/log\n"
    assert json.loads(run("history", "--json")) == []


def test_run_runs_it_now_and_ends_with_its_code(run):
    run("add", "good", "--every", "1h", "--", "costctl", "config", "show")
    run("add", "bad", "--every", "1h", "--", "report", "--month", "{name}")
    run("run", "good")
    assert "bad: failed; output in" in run("run", "bad", code=2)
    bad, good = json.loads(run("history", "--json"))
    assert (bad["outcome"], bad["exit_code"], bad["command"]) == ("failed", 2, ["report", "--month", "bad"])
    assert (good["outcome"], good["exit_code"], good["cost"]) == ("succeeded", 0, None)
    assert "failed (2)" in run("history", "bad")
    assert "is not a month" in run("show", "bad")
    run("remove", "bad")
    assert [one["schedule"] for one in json.loads(run("history", "--json"))] == ["good"]


def test_there_is_nothing_before_there_is_a_ledger(run, home):
    (home / "ledger.db").unlink()
    assert listed(run) == []
    assert "nothing was due yet" in run("history")


def test_a_name_that_is_taken_is_refused(run):
    run(*NIGHTLY, "--", "sessions")
    assert "there is a schedule 'nightly' already" in run(*NIGHTLY, "--", "sessions", error=RefusedError)


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "remove", "run", "history", "export"])
def test_a_name_that_is_not_there_is_said(run, verb):
    more = ["--crontab"] if verb == "export" else []
    assert "has no schedule 'weekly'" in run(verb, "weekly", *more, error=CostctlError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cron", "0 0 31 2 *", "--", "sessions"), "never comes"),
        (("--cron", "0 0 * *", "--", "sessions"), "is not a cron expression"),
        (("--every", "5s", "--", "sessions"), "at least 1m"),
        (("--every", "9999d", "--", "sessions"), "out of range"),
        (("--at", "2020-01-01T00:00", "--", "sessions"), "at 2020-01-01T00:00 in UTC is in the past"),
        (("--at", "soon", "--", "sessions"), "is not a time"),
        (("--every", "1h", "--tz", "Mars/Olympus", "--", "sessions"), "is not a time zone"),
        (("--every", "1h", "--", "rm", "-rf", "/"), "'rm' is no command of costctl that can be scheduled"),
        (("--every", "1h", "--", "serve"), "'serve' is no command of costctl that can be scheduled"),
        (("--every", "1h", "--", "schedule", "run", "x"), "'schedule' is no command"),
        (("--every", "1h", "--then", "shutdown", "--", "sessions"), "--then is for `batch`"),
        (("--every", "1h", "--", "batch", "jobs.jsonl", "--max-token", "9"), "No such option '--max-token'"),
        (("--every", "1h", "--", "batch", "jobs.jsonl", "--timeout", "soon"), "'--timeout': 'soon' is not a duration"),
        (("--every", "1h", "--", "batch"), "see `costctl batch --help`"),
        (("--every", "1h", "--", "batch", "-", "-o", "x"), "a schedule has no standard input"),
        (("--every", "1h", "--", "config"), "see `costctl config --help`"),
        (("--every", "1h", "--", "prices", "refesh"), "No such command 'refesh'"),
        (("--every", "1h", "--grace", "-1h", "--", "sessions"), "is not a duration"),
        (("--every", "1h", "--notify", "team", "--", "sessions"), "nowhere to send to"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(run, arguments, words):
    assert words in run("add", "nightly", *arguments, error=BadValueError)
    assert listed(run) == []


@pytest.mark.parametrize(
    ("rule", "output", "is_one_file"),
    [
        ("--every 1d", "out.jsonl", True),
        ("--every 1d", "out-{date}.jsonl", False),
        ("--every 1h", "out-{date}.jsonl", True),
        ("--every 1h", "out-{time}.jsonl", True),
        ("--every 1h", "out-{date}-{time}.jsonl", False),
        ("--every 1h", "out.jsonl --restart", False),
        ("--at 2999-01-01T00:00", "out.jsonl", False),
    ],
)
def test_runs_that_would_share_a_results_file_are_pointed_at(run, tmp_path, rule, output, is_one_file):
    (tmp_path / "jobs.jsonl").touch()
    run("add", "nightly", *rule.split(), "--", "batch", "jobs.jsonl", "-o", *output.split())
    assert ("several runs have one results file" in run.said) == is_one_file
    assert "is not there yet" not in run.said


def test_an_input_that_is_missing_is_pointed_at_and_may_come_yet(run, tmp_path):
    run("add", "nightly", "--every", "1d", "--", "batch", "jobs-{date}.jsonl")
    assert f"note: {tmp_path}/jobs-20" in run.said
    assert "is not there yet" in run.said


@pytest.mark.parametrize("name", [b"two\nlines", b"no utf-8 \xff"])
def test_a_folder_that_could_not_be_in_a_crontab_is_refused(run, tmp_path, name):
    folder = os.fsdecode(name)
    (tmp_path / folder).mkdir()
    said = run("add", "x", "--every", "1h", "--", "sessions", folder=folder, error=BadValueError)
    assert "cannot be written into a ledger or a crontab" in said


def test_files_of_other_commands_are_theirs_to_look_at(run):
    run("add", "x", "--every", "1h", "--", "reconcile", "missing.csv")
    run("add", "y", "--every", "1h", "--", "prices", "import", "missing.csv")
    assert [one["name"] for one in listed(run)] == ["x", "y"]


def test_then_goes_before_what_is_for_the_engine(run):
    run(*NIGHTLY, "--then", "unload", "--", "batch", "jobs.jsonl", "--", "--max-model-len", "2048")
    expected = ["batch", "jobs.jsonl", "--then", "unload", "--", "--max-model-len", "2048"]
    assert listed(run)[0]["command"] == expected


def test_shutdown_without_a_daemon_is_pointed_at_if_the_settings_do_not_stop_the_machine(run, tmp_path):
    run(*NIGHTLY, "--then", "shutdown", "--", "batch", "jobs.jsonl")
    assert "needs a daemon that stops the machine: `costctl serve --on-idle poweroff`" in run.said
    (tmp_path / "costctl.toml").write_text('on-idle = "poweroff"\n')
    run("add", "b", "--every", "1d", "--then", "shutdown", "--", "batch", "jobs.jsonl")
    assert "needs a daemon" not in run.said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--", "sessions"), "one of --cron, --every and --at"),
        (("--every", "1h", "--cron", "0 0 * * *", "--", "sessions"), "one of --cron, --every and --at"),
        (("--every", "1h"), "give the command after --"),
        (("--every", "1h", "--then", "explode", "--", "sessions"), "'explode' is not one of"),
    ],
)
def test_what_is_not_said_is_asked_for(run, arguments, words):
    assert words in run("add", "nightly", *arguments, code=2)


def test_exports_are_printed_or_written(run, tmp_path):
    run(*NIGHTLY, "--", "sessions")
    assert "schedule run nightly" in run("export", "--crontab").splitlines()[-1]
    assert "Debian's cron would take another zone's times for its own: use --systemd there" in run.said
    assert "OnCalendar=*-*-* 02:00:00 Europe/Berlin" in run("export", "nightly", "--systemd")
    run("export", "--systemd", "--output", str(tmp_path))
    assert (tmp_path / "costctl-nightly.timer").read_text().startswith("[Unit]\n")
    assert "--crontab, or --systemd" in run("export", code=2)
    run("remove", "nightly")
    run("export", "--crontab", error=BadValueError)


def test_a_ledger_that_cannot_be_written_is_said(run, home):
    (home / "ledger.db").write_text("not a database at all, and longer than a header would have to be " * 10)
    run(*NIGHTLY, "--", "sessions", error=LedgerError)


def test_at_is_within_the_zone_that_is_named(run):
    soon = datetime.now(UTC) + timedelta(minutes=30)
    wall = f"{soon:%Y-%m-%dT%H:%M}"
    assert "is in the past" in run(
        "add", "x", "--at", wall, "--tz", "Asia/Shanghai", "--", "sessions", error=BadValueError
    )
    assert "next" in run("add", "x", "--at", wall, "--tz", "America/New_York", "--", "sessions")
