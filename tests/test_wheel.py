"""The wheel is whole: installed where nothing else of costctl is, it migrates a ledger, runs its engine and reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with the wheel and its dependencies, and without the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    # The dependencies as pinned, but not this checkout: a path named in a .pth file brings no .pth files of its own.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / "bin" / "python"


def costctl(python, home, *arguments):
    environment = {"PATH": os.environ["PATH"], "COSTCTL_HOME": str(home), "LANG": "C.UTF-8"}
    command = [python, "-m", "costctl", *arguments]
    return subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True, text=True)


def test_the_wheel_serves_and_reports(python, tmp_path):
    where = costctl_folder(python, tmp_path)
    assert CHECKOUT not in where.parents

    output = costctl(python, tmp_path, "demo").stdout

    assert "answered after" in output
    assert "the daemon ended by itself with exit code 0" in output


def test_the_wheel_migrates_an_empty_ledger(python, tmp_path):
    serve = ("serve", "--engine", "sim", "--gpu", "sim", "--port", "0")
    with pytest.raises(subprocess.CalledProcessError):
        costctl(python, tmp_path, *serve)  # port 0 is refused before anything is made
    costctl(
        python,
        tmp_path,
        *("serve", "--engine", "sim", "--gpu", "sim", "--port", free_port(), "--idle-shutdown", "0.2s"),
    )

    sessions = json.loads(costctl(python, tmp_path, "sessions", "--json").stdout)

    assert [session["end_reason"] for session in sessions] == ["idle"]


def test_the_wheel_has_the_price_catalog(python, tmp_path):
    prices = json.loads(costctl(python, tmp_path, "prices", "list", "--provider", "reference-cn", "--json").stdout)

    assert [price["per_hour"] for price in prices] == ["1.80", "2.50", "3.00", "12.00"]


def test_the_wheel_has_all_that_reports_are_made_with(python, tmp_path):
    serve = ("serve", "--engine", "sim", "--gpu", "sim", "--port", free_port(), "--idle-shutdown", "0.2s")
    costctl(python, tmp_path, *serve)

    page = costctl(python, tmp_path, "report", "--format", "html", "--lang", "zh").stdout
    schema = json.loads(costctl(python, tmp_path, "report", "--schema").stdout)
    report = json.loads(costctl(python, tmp_path, "report", "--json").stdout)

    assert page.startswith("<!DOCTYPE html>")
    assert '<html lang="zh-Hans">' in page
    assert "时间按" in page
    assert "</svg>" in page
    Draft202012Validator(schema).validate(report)
    assert report["totals"]["sessions"] == 1


def test_the_wheel_knows_the_rules_of_providers(python, tmp_path):
    rules = json.loads(costctl(python, tmp_path, "billing", "rules", "--json").stdout)["rules"]

    assert "autodl" in {rule["name"] for rule in rules}


def costctl_folder(python, cwd):
    program = "import costctl; print(costctl.__file__)"
    found = subprocess.run([python, "-c", program], cwd=cwd, check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
