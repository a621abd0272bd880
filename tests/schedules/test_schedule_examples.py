"""The examples: cron and systemd understand them, and the cloud's script starts, sees off and fails loudly."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from costctl.domain.cron import parse_cron

EXAMPLES = Path(__file__).parents[2] / "examples" / "schedules"
SHELLCHECK = shutil.which("shellcheck")
SYSTEMD = shutil.which("systemd-analyze")


def test_cron_understands_the_crontab():
    text = (EXAMPLES / "crontab").read_text().splitlines()
    entries = [line for line in text if line and not line.startswith(("#", "SHELL=", "PATH=", "COSTCTL_HOME="))]
    assert len(entries) == 3
    for entry in entries:
        *fields, command = entry.split(None, 5)
        parse_cron(" ".join(fields))
        assert "%" not in command.replace(r"\%", "")
        subprocess.run(["sh", "-n", "-c", command.replace(r"\%", "%")], check=True)


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path):
    units = [str(EXAMPLES / f"costctl-nightly.{kind}") for kind in ("service", "timer")]
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [SYSTEMD, "verify", "--man=no", *units], check=False, capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def cloud(tmp_path):
    """Run the script in a cloud of files: `state` is what the provider says, `log` what was done."""
    state, log, program = tmp_path / "state", tmp_path / "log", tmp_path / "bin" / "ssh"
    state.write_text("stopped")
    program.parent.mkdir()

    def cloud(*, remote="echo stopped > {state}", stop="echo stopped > {state}", answers=True, without=()):
        answer = f'case "$*" in *true) exit {0 if answers else 255};; esac'
        program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{answer}\n{remote.format(state=state)}\n')
        program.chmod(0o755)
        given = {
            "START_COMMAND": f"echo start >> {log}; echo running > {state}",
            "STATE_COMMAND": f"cat {state}",
            "STOP_COMMAND": f"echo stop >> {log}; {stop.format(state=state)}",
            "STOPPED_STATE": "stopped",
            "SSH_TARGET": "me@gpu",
            "REMOTE_FOLDER": "/srv/my jobs",
            "WAIT_FOR_STOP_S": "1",
            "WAIT_FOR_SSH_S": "1",
            "LOOK_EVERY_S": "0.1",
            "TRIES": "3",
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        environment = {name: value for name, value in given.items() if name not in without}
        done = subprocess.run(
            [str(EXAMPLES / "cloud-start.sh")], check=False, capture_output=True, text=True, env=environment, timeout=60
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return cloud


def test_an_instance_that_is_done_and_off_is_left_alone(cloud):
    done, log = cloud()
    assert (done.returncode, done.stderr) == (0, "")
    assert (log[0], "stop" in log) == ("start", False)
    assert "cd '/srv/my jobs' && /opt/costctl/bin/costctl batch jobs.jsonl -o out-" in log[-1]
    assert log[-1].endswith("--then shutdown")


@pytest.mark.parametrize(
    "name", ["START_COMMAND", "STATE_COMMAND", "STOP_COMMAND", "STOPPED_STATE", "SSH_TARGET", "REMOTE_FOLDER"]
)
def test_a_variable_that_is_missing_is_named_and_nothing_is_started(cloud, name):
    done, log = cloud(without=[name])
    assert done.returncode == 2
    assert f"{name} is not set" in done.stderr
    assert log == []


def test_a_batch_that_fails_has_the_instance_stopped_and_is_passed_on(cloud):
    done, log = cloud(remote="exit 4")
    assert (done.returncode, log[-1]) == (4, "stop")


def test_an_instance_that_does_not_stop_by_itself_is_stopped(cloud):
    done, log = cloud(remote="exit 0")
    assert (done.returncode, log[-1]) == (0, "stop")
    assert "did not stop by itself" in done.stderr


def test_an_instance_that_cannot_be_stopped_is_shouted_about(cloud):
    done, _ = cloud(remote="exit 0", stop="false")
    assert done.returncode == 1
    assert "STILL BILLED: its state is 'running', not 'stopped'" in done.stderr


@pytest.mark.parametrize("code", [255, 5])
def test_a_batch_that_was_cut_off_is_gone_on_with(cloud, tmp_path, code):
    again = tmp_path / "again"
    done, log = cloud(remote=f"if ! [ -e {again} ]; then touch {again}; exit {code}; fi; echo stopped > {{state}}")
    assert done.returncode == 0
    first, second = (line for line in log if "costctl batch" in line)
    assert first == second, "with the same results file, so it goes on where it was"
    assert f"the batch was cut off or refused ({code}): trying again" in done.stderr


def test_a_connection_that_is_cut_off_again_and_again_has_the_instance_stopped(cloud):
    done, log = cloud(remote="exit 255")
    assert (done.returncode, log[-1], sum("costctl batch" in line for line in log)) == (255, "stop", 3)


def test_the_crontabs_line_for_a_cloud_runs_the_script_with_its_settings(cloud, tmp_path):
    """From a folder with the three files, and a recorder in place of the cloud's command line."""
    cloud()
    (tmp_path / "state").write_text("stopped")
    for name in ("cloud-start.sh", "cloud-start.env"):
        shutil.copy(EXAMPLES / name, tmp_path)
    recorder = f"""#!/bin/sh
echo "aws $@" >> {tmp_path}/asked
case $2 in start-instances) echo running > {tmp_path}/state;; describe-instances) cat {tmp_path}/state;; esac
"""
    (tmp_path / "bin" / "aws").write_text(recorder)
    (tmp_path / "bin" / "aws").chmod(0o755)
    line = (EXAMPLES / "crontab").read_text().splitlines()[-1]
    command = line.split(None, 5)[5].replace("/srv/jobs", str(tmp_path))
    bare = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SHELL": "/bin/sh"}
    done = subprocess.run(["/bin/sh", "-c", command], check=False, capture_output=True, text=True, env=bare, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "stopped, as the provider says" in (tmp_path / "cloud-start.log").read_text()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "aws ec2 start-instances --instance-ids i-0123456789abcdef0"
    assert "describe-instances" in asked[-1]
    assert not any("stop-instances" in one for one in asked)


@pytest.mark.skipif(SHELLCHECK is None, reason="needs shellcheck")
def test_shellcheck_has_nothing_to_say():
    subprocess.run([SHELLCHECK, "cloud-start.sh"], cwd=EXAMPLES, check=True)
    subprocess.run([SHELLCHECK, "--shell=sh", "--exclude=SC2034", "cloud-start.env"], cwd=EXAMPLES, check=True)


def test_an_instance_that_nobody_can_reach_is_stopped(cloud):
    done, log = cloud(answers=False)
    assert (done.returncode, log[-1]) == (1, "stop")
    assert "no ssh to me@gpu within 1 s" in done.stderr
