"""Entries for cron and systemd, as those who read them understand them."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from costctl.domain.schedule_exports import crontab, systemd_units
from costctl.domain.schedules import Schedule, parse_rule
from costctl.errors import BadValueError

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
PROGRAM = ("/opt/my tools/python", "-m", "costctl")
HOME = {"COSTCTL_HOME": '/data/100% "mine" $HOME'}
SYSTEMD = shutil.which("systemd-analyze")


def make(rule, zone="UTC", name="nightly", folder="/srv/50% jobs"):
    return Schedule(
        name=name, rule=parse_rule(rule), zone=ZoneInfo(zone), command=("batch",), folder=folder, since=SINCE
    )


def lines(*schedules, system_zone="UTC"):
    text = crontab(schedules, program=PROGRAM, environment=HOME, system_zone=system_zone)
    return [line for line in text.splitlines() if not line.startswith("#")]


def units(schedule):
    return systemd_units(schedule, program=PROGRAM, environment=HOME)


def test_a_crontab_line_runs_the_schedule_in_its_folder_with_its_home(tmp_path):
    """As cron does: five fields, then a line for the shell in which an unescaped % would be a new line."""
    (line,) = lines(make("cron 0 2 * * 1-5", folder=str(tmp_path / "50% jobs")))
    *fields, command = line.split(" ", 5)
    assert fields == ["0", "2", "*", "*", "1-5"]
    assert "%" not in command.replace(r"\%", "")
    (tmp_path / "50% jobs").mkdir()
    said = command.replace(r"\%", "%").replace(
        "'/opt/my tools/python'",
        "python3 -c 'import os, sys; print(os.getcwd(), os.environ[\"COSTCTL_HOME\"], sys.argv[1:])'",
    )
    done = subprocess.run(["sh", "-c", said], capture_output=True, text=True, check=True)
    assert (
        done.stdout == f"{tmp_path}/50% jobs {HOME['COSTCTL_HOME']} ['-m', 'costctl', 'schedule', 'run', 'nightly']\n"
    )


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("every 15m", "*/15 * * * *"),
        ("every 6h", "0 */6 * * *"),
        ("every 1d", "0 0 * * *"),
        ("cron @weekly", "0 0 * * 0"),
        ("cron 0 2 1 * mon", "0 2 1 * mon"),
    ],
)
def test_what_cron_can_say_it_says(rule, fields):
    (line,) = lines(make(rule))
    assert line.startswith(f"{fields} cd ")


@pytest.mark.parametrize("rule", ["every 7h", "every 45m", "every 90m", "every 2d", "at 2026-12-01T02:00"])
def test_what_cron_cannot_say_is_refused(rule):
    with pytest.raises(BadValueError, match=r"cron cannot say .*export it with --systemd"):
        lines(make(rule))


def test_another_zone_is_said_for_those_crons_that_know_zones_and_not_left_to_the_next_line():
    assert [
        line.split(" cd")[0] for line in lines(make("cron 0 2 * * *", "Asia/Shanghai"), make("cron 0 3 * * *"))
    ] == [
        "CRON_TZ=Asia/Shanghai",
        "0 2 * * *",
        "CRON_TZ=UTC",
        "0 3 * * *",
    ]


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    "rule", ["cron 0 2 * * *", "cron */7 1-3 1,15 2-4 fri,sun", "every 36h", "at 2036-12-01T02:00"]
)
def test_systemd_takes_the_units(rule, tmp_path):
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    made = systemd_units(make(rule, folder=str(tmp_path)), program=(str(program),), environment=HOME)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    command = [SYSTEMD, "verify", "--user", "--man=no", *(str(tmp_path / name) for name in made)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


def calendar(schedule):
    timer = units(schedule)["costctl-nightly.timer"]
    return [line.removeprefix("OnCalendar=") for line in timer.splitlines() if line.startswith("OnCalendar=")]


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    "rule", ["0 2 * * *", "*/20 9-17 * * 1-5", "30 4 1,15 * 5", "0 0 */10 * 1", "0 0 29 2 *", "15 3 * 6-8 0"]
)
def test_systemd_elapses_when_the_schedule_is_due(rule):
    schedule, at, expected = make(f"cron {rule}", "Asia/Shanghai"), SINCE, []
    for _ in range(4):
        at = schedule.next_due(at)
        expected.append(f"{at:%Y-%m-%d %H:%M:%S} UTC")
    found = set()
    for moment in calendar(schedule):
        command = [SYSTEMD, "calendar", "--iterations=4", f"--base-time={SINCE:%Y-%m-%d %H:%M:%S} UTC", moment]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
        found |= {" ".join(line.split()[-3:]) for line in said.splitlines() if "elapse" in line or "Iter" in line}
    assert sorted(found)[:4] == expected


def field(first, last):
    one = st.integers(first, last)
    span = st.tuples(one, one).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(2, last - first).map(lambda step: f"*/{step}")
    return st.one_of(
        st.just("*"), one.map(str), step, st.lists(one.map(str) | span, min_size=1, max_size=3).map(",".join)
    )


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-analyze")
@settings(max_examples=60, deadline=None)
@given(
    rule=st.tuples(field(0, 59), field(5, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join),
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "Asia/Kolkata", "Europe/Berlin", "America/New_York"]),
    after=st.integers(0, 6 * 365 * 24 * 3600).map(lambda seconds: SINCE + timedelta(seconds=seconds)),
)
def test_systemd_elapses_next_when_the_schedule_is_due_next(rule, zone, after):
    """But for the hours in which clocks change: systemd goes by the C library there."""
    try:
        schedule = make(f"cron {rule}", zone)
    except BadValueError:  # 31 February
        reject()
    command = [SYSTEMD, "calendar", f"--base-time={after:%Y-%m-%d %H:%M:%S} UTC", *calendar(schedule)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    found = [" ".join(line.split()[-3:]) for line in said.splitlines() if "Next elapse" in line]
    assert min(found) == f"{schedule.next_due(after):%Y-%m-%d %H:%M:%S} UTC"


def test_an_interval_counts_from_the_timers_start():
    timer = units(make("every 36h"))["costctl-nightly.timer"]
    assert "OnActiveSec=1d12h\nOnUnitActiveSec=1d12h\n" in timer
    assert timedelta(days=1, hours=12) == timedelta(seconds=parse_rule("every 1d12h").seconds)


def test_nothing_in_a_unit_is_taken_for_a_specifier_or_a_variable():
    service = units(make("every 1h"))["costctl-nightly.service"]
    assert 'Environment="COSTCTL_HOME=/data/100%% \\"mine\\" $HOME"\n' in service
    assert "WorkingDirectory=/srv/50%% jobs\n" in service
    assert 'ExecStart="/opt/my tools/python" "-m" "costctl" "schedule" "run" "nightly"\n' in service
