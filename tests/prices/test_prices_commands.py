"""`costctl prices` as people type it, in a home of its own."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.errors import BadValueError, CostctlError, LedgerError, RefusedError
from costctl.ledger.store import Ledger

SKYPILOT = """\
InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region,AvailabilityZone
g4dn.xlarge,T4,1.0,0.526,0.2,nowhere-1,a
g4dn.xlarge,T4,1.0,0.526,0.3,nowhere-1,b
"""
GPUHUNT = """
class GPUHuntError(Exception):
    pass

class Item:
    provider, instance_name, location, gpu_count, gpu_name, gpu_memory = "aws", "g4dn.xlarge", "nowhere-2", 1, "T4", 16
    price, spot = 0.5, False

def query(*, provider, min_gpu_count, gpu_vendor):
    return [Item()] if provider in (None, ["aws"]) else []
"""


@pytest.fixture
def run(home):
    def run(*arguments, error=None):
        result = CliRunner().invoke(cli, ["prices", *arguments])
        if error is not None:
            assert isinstance(result.exception, error), result.output
            return str(result.exception)
        assert result.exception is None, (result.output, result.exception)
        return result.stdout

    return run


@pytest.fixture
def file(tmp_path):
    def write(content, name="prices.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return str(path)

    return write


def listed(run, *arguments):
    return json.loads(run("list", "--json", *arguments))


def test_the_catalog_is_listed_without_a_ledger_and_none_is_made(run, home):
    output = run("list", "--gpu", "t4", "--provider", "aws", "--region", "us-east-1", "--market", "on-demand")
    lines = output.splitlines()
    assert lines[0].split() == ["provider", "type", "GPU", "region", "market", "price", "date", "age"]
    assert lines[1].split()[:9] == ["aws", "g4dn.xlarge", "1", "x", "T4", "us-east-1", "on-demand", "0.526", "USD/h"]
    assert "2026-07-20" in lines[1]
    assert not home.exists()


def test_filters_and_orders(run):
    found = listed(run, "--gpu", "L4", "--gpu-count", "1", "--currency", "usd", "--max-price", "0.5")
    assert found
    assert all(one["gpu"] == "L4" and float(one["per_hour"]) <= 0.5 and one["currency"] == "USD" for one in found)
    prices = [float(one["per_hour"]) for one in found]
    assert prices == sorted(prices)
    types = listed(run, "--instance-type", "g4dn.*", "--sort", "provider")
    assert {one["provider"] for one in types} == {"aws"}
    by_gpu = listed(run, "--provider", "lambda", "--gpu", "H100", "--sort", "gpu-price")
    assert [one["gpu_count"] for one in by_gpu] == [1, 8, 4, 2, 1]
    ages = [one["age_days"] for one in listed(run, "--provider", "aws", "--sort", "age") if one["age_days"] is not None]
    assert ages == sorted(ages)


def test_a_price_is_marked_with_its_age(run):
    (line,) = run("list", "--provider", "reference-cn", "--gpu", "T4").splitlines()[1:]
    assert "2026-01-22" in line
    assert line.endswith("d  old")
    (undated,) = listed(run, "--provider", "vast", "--gpu", "L40S")
    assert (undated["date"], undated["not_before"], undated["age_days"]) == (None, "2025-08-01", None)
    assert undated["doubts"] == ["age unknown"]


def test_few_are_shown_unless_all_are_wanted(run):
    assert len(run("list", "--limit", "3").splitlines()) == 4
    assert len(run("list", "--all").splitlines()) == 1 + 1213
    assert run("list", "--gpu", "T4", "--gpu-count", "7") == "no price matches\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "--gpu", "A100"), "did you mean A100-40GB or A100-80GB?"),
        (("list", "--currency", "XYZ"), "not a currency in use"),
        (("list", "--max-price", "3"), "a highest price needs a currency: write it like '3 USD/h'"),
        (("list", "--max-price", "3 USD/h", "--currency", "CNY"), "not a price in CNY"),
        (("list", "--max-price", "x USD"), "is not a number"),
        (("list", "--max-price", "0 USD"), "not more than zero"),
        (("show", "nothing"), "nor is it an instance type"),
        (("set", "1.8", "--gpu", "T4"), "write amount, currency and '/h'"),
        (("set", "1.8 XYZ/h", "--gpu", "T4"), "not a currency in use"),
        (("set", "900 USD/h", "--gpu", "T4"), "500 and more per GPU-hour"),
        (("set", "0 USD/h", "--gpu", "T4"), "more than 0"),
        (("set", "1 USD/h", "--gpu", "A1OG"), "did you mean A10G?"),
        (("set", "1 USD/h", "--gpu", "T4", "--from", "soon"), "is not a date"),
    ],
)
def test_what_cannot_be_understood_is_one_line(run, home, arguments, words):
    message = run(*arguments, error=BadValueError)
    assert words in message
    assert "\n" not in message
    assert not home.exists()


def test_an_own_price_is_set_explained_and_removed(run):
    assert "own price 1: 1.80 CNY/h for 1 x T4 (on-demand) from 2026-01-05" in run(
        "set", "1.8 CNY/h", "--gpu", "Tesla T4", "--from", "2026-01-05", "--note", "as agreed"
    )
    output = run("explain")
    assert "price     1.80 CNY/h" in output
    assert "source    own price of 2026-01-05 (assumed: market)" in output
    assert "taken: own 1" in output
    assert "as agreed" in run("show", "1")
    message = run("set", "2 CNY/h", "--gpu", "T4", "--from", "2026-01-05", error=RefusedError)
    assert "1.80 CNY/h (number 1) and 2.00 CNY/h" in message
    run("set", "2 CNY/h", "--gpu", "T4", "--from", "2026-01-05", "--replace")
    assert [one["per_hour"] for one in listed(run, "--own")] == ["2.00"]
    number = str(listed(run, "--own")[0]["id"])
    assert f"removed price {number}: 2.00 CNY/h" in run("remove", number)
    assert "no price 9" in run("remove", "9", error=LedgerError)
    assert "price     unknown" in run("explain")


def test_without_a_gpu_the_one_here_is_meant(run, monkeypatch):
    assert "for 1 x T4" in run("set", "1.8 CNY/h")
    monkeypatch.setenv("COSTCTL_GPU", "none")
    assert "say with --gpu" in run("set", "1.8 CNY/h", error=BadValueError)


def test_explain_asks_the_catalog_for_a_described_machine(run):
    facts = ("--gpu", "Tesla T4", "--provider", "aws", "--instance-type", "g4dn.xlarge", "--region", "us-east-1")
    found = json.loads(run("explain", *facts, "--market", "on-demand", "--json"))
    assert found["schema"] == "costctl.price/1"
    assert (found["basis"], found["price"]["per_hour"], found["price"]["currency"]) == ("catalog", "0.526", "USD")
    assert found["price"]["source"] == "catalog: aws g4dn.xlarge us-east-1 on-demand, 2026-07-20"
    (taken,) = [one for one in found["candidates"] if one["taken"]]
    assert taken["why"] == "it matches"
    assert all(one["why"] for one in found["candidates"])
    vague = json.loads(run("explain", *facts, "--json"))
    assert (vague["basis"], vague["price"]) == ("unknown", None)
    assert vague["ranges"] == [{"currency": "USD", "low": "0.2039", "high": "0.526"}]


def test_explain_heeds_the_settings(run, monkeypatch):
    monkeypatch.setenv("COSTCTL_PROVIDER", "reference-cn")
    assert "price     1.80 CNY/h" in run("explain")
    monkeypatch.setenv("COSTCTL_PRICE", "7 CNY/h")
    output = run("explain")
    assert "price     7.00 CNY/h" in output
    assert "COSTCTL_PRICE says 7.00 CNY/h" in output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_own_prices_are_exported_and_imported_again(run, file, encoding):
    run("set", "1.8 CNY/h", "--gpu", "T4", "--from", "2026-01-05", "--note", "für später")
    run("set", "0.35 USD/h", "--gpu", "L4", "--provider", "aws", "--market", "spot")
    before = listed(run, "--own")
    exported = run("list", "--own", "--csv")
    for number in ("1", "2"):
        run("remove", number)
    assert "2 own prices imported" in run("import", file(exported, encoding=encoding))
    assert [one | {"id": None} for one in listed(run, "--own")] == [one | {"id": None} for one in before]


def test_a_file_with_bad_lines_is_refused_whole(run, file):
    path = file("gpu,currency,per_hour\nT4,CNY,1.8\nT4,,1\nL4,CNY,0\nL4,CNY,2.5\n")
    result = CliRunner().invoke(cli, ["prices", "import", path])
    assert result.stderr.splitlines() == [
        "line 3: a price without a currency is no price: say which, like CNY or USD",
        "line 4: the price 0 is not more than zero: leave out what is not known",
    ]
    assert "2 lines cannot be taken, so none was" in str(result.exception)
    assert listed(run, "--own") == []
    assert "2 prices could be imported; nothing was written" in run("import", path, "--skip-bad", "--dry-run")
    assert listed(run, "--own") == []
    assert "2 own prices imported" in run("import", path, "--skip-bad")
    assert [one["gpu"] for one in listed(run, "--own")] == ["T4", "L4"]


def test_many_bad_lines_are_not_all_printed(run, file):
    path = file("gpu,currency,per_hour\n" + "T4,CNY,0\n" * 30)
    lines = CliRunner().invoke(cli, ["prices", "import", path]).stderr.splitlines()
    assert (len(lines), lines[-1]) == (21, "and 10 more")


def test_a_home_that_cannot_be_made_is_one_line(run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path / "file" / "home"))
    assert "set COSTCTL_HOME" in run("set", "1 CNY/h", "--gpu", "T4", error=CostctlError)


def test_two_prices_at_once_in_a_file_are_refused_whole(run, file):
    path = file("gpu,currency,per_hour,date\nL4,CNY,2,\nT4,CNY,1.8,2026-01-05\nT4,CNY,1.9,2026-01-05\n")
    assert "two own prices would hold at once" in run("import", path, error=RefusedError)
    assert listed(run, "--own") == []


def test_other_files_are_refused_by_name(run, file):
    assert "prices.csv: the column gpu is missing" in run("import", file("a,b\n1,2\n"), error=BadValueError)
    assert "there is no price to import" in run("import", file("gpu,currency,per_hour\n"), error=BadValueError)
    latin = file("gpu,currency,per_hour,note\nT4,CNY,1.8,für\n", encoding="latin-1")
    assert "--encoding latin-1" in run("import", latin, error=BadValueError)
    assert "1 own prices imported" in run("import", latin, "--encoding", "latin-1")


def test_a_list_of_skypilots_ranks_with_the_catalog(run, file):
    path = file(SKYPILOT)
    assert "give --provider" in run("import", path, error=BadValueError)
    assert "give --from DATE" in run("import", path, "--provider", "aws", error=BadValueError)
    arguments = ("import", path, "--provider", "aws", "--from", "2026-01-31")
    assert "2 prices of aws imported, in the place of 0" in run(*arguments)
    assert "in the place of 2" in run(*arguments)
    here = ("--gpu", "Tesla T4", "--provider", "aws", "--region", "nowhere-1", "--market", "spot")
    found = json.loads(run("explain", *here, "--json"))
    assert found["basis"] == "list"
    assert found["price"]["source"].startswith("price list skypilot aws: aws g4dn.xlarge nowhere-1 spot, 2026-01-31")
    assert found["price"]["per_hour"] == "0.25"


def test_a_refresh_through_gpuhunt(run, tmp_path, monkeypatch):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "gpuhunt.py").write_text(GPUHUNT)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    monkeypatch.delitem(sys.modules, "gpuhunt", raising=False)
    assert "1 prices of aws fetched, in the place of 0" in run("refresh")
    assert "in the place of 1" in run("refresh", "--provider", "aws")
    assert "nothing was changed" in run("refresh", "--provider", "vast", error=CostctlError)
    (found,) = listed(run, "--region", "nowhere-2")
    assert (found["origin"], found["source"], found["per_hour"], found["age_days"]) == ("list", "gpuhunt", "0.50", 0)
    monkeypatch.delitem(sys.modules, "gpuhunt")


def test_the_csv_is_a_table(run):
    rows = list(csv.DictReader(io.StringIO(run("list", "--provider", "vast", "--csv"))))
    assert len(rows) == 5
    assert {row["origin"] for row in rows} == {"catalog"}


def test_show_says_all_that_is_known(run):
    output = run("show", "g6.xlarge")
    assert "source  aws/karpenter-provider-aws" in output
    assert "note    median of" in output
    assert len(list(csv.DictReader(io.StringIO(run("show", "g6.xlarge", "--csv"))))) == len(
        json.loads(run("show", "g6.xlarge", "--json"))
    )
    gpu = run("show", "L4")
    assert gpu.startswith("L4: 24 GiB, 300 GB/s, 72 W\n")
    assert "reference-cn l4 cn on-demand" in gpu
    assert "gcp g2-standard-4" in gpu


def test_a_note_cannot_steer_the_terminal(run):
    run("set", "1 CNY/h", "--gpu", "T4", "--note", "\x1b[2Jgone")
    assert "\x1b" not in run("show", "1")


def test_an_older_ledger_has_no_prices_yet(run, home):
    import sqlite3

    home.mkdir()
    Ledger.open(f"sqlite:///{home / 'ledger.db'}").close()
    with sqlite3.connect(home / "ledger.db") as connection:
        for table in ("prices", "batches", "benchmarks", "schedule_runs", "schedules", "schedule_jobs", "cached_hours"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()
    assert listed(run, "--own") == []
    run("set", "1 CNY/h", "--gpu", "T4")
    assert len(listed(run, "--own")) == 1


def test_help_and_catalog_load_nothing_heavy(home):
    program = (
        "import sys; sys.argv = ['costctl', 'prices', 'list', '--limit', '1']\nfrom costctl.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'aiohttp', 'psutil', 'pynvml', 'gpuhunt'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
