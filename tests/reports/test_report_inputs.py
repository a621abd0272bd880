"""`costctl report` with what people mistype, where nothing was used, and with names that would do harm."""

import csv
import io
import json
import re
import subprocess
import sys

import click
import openpyxl
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from costctl.cli.root import cli
from costctl.errors import BadValueError, CostctlError
from tests.reports import golden

FORMS = ("text", "markdown", "html", "json", "csv")


@pytest.fixture
def home(year_url, tmp_path):
    """A place where costctl knows the generated year, and nothing else."""
    with golden.alone(tmp_path, year_url):
        yield tmp_path


def run(*arguments):
    result = CliRunner().invoke(cli, ["report", "--tz", "Europe/Berlin", *arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--currency", "XYZ"], "'XYZ' is not a currency in use"),
        (["--gpus", "B900"], "'B900' is not a GPU that costctl knows"),
        (["--gpus", "T4,,A1OG"], "did you mean A10G"),
        (["--gpus", ""], "'' is not a GPU"),
        (["--baseline", "A10G sometimes"], "write it as GPU"),
        (["--baseline", "A10G at 3.0"], "write it as GPU"),
        (["--baseline", "B200 always-on"], "'B200' is not a GPU"),
        (["--week", "2026-W03"], "--month and --week name different periods"),
        (["--send"], "write [[notify]]"),
    ],
)
def test_what_does_not_exist_is_named(home, arguments, words):
    with pytest.raises(BadValueError) as raised:
        run("--month", "2026-01", *arguments)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "report.pdf"], "report.pdf: give it a known ending"),
        (["-o", "report"], "or say --format"),
        (["-o", "."], "is a directory"),
        (["--format", "xlsx"], "say -o report.xlsx"),
        (["--format", "pdf"], "is not one of"),
    ],
)
def test_a_form_that_cannot_be_written_is_bad_usage(home, arguments, words):
    with pytest.raises(click.UsageError) as raised:
        run("--month", "2026-01", *arguments)
    assert words in raised.value.format_message()


def test_a_file_is_in_the_form_of_its_name_unless_another_is_said(home):
    run("--month", "2026-01", "-o", "JANUARY.JSON")
    run("--month", "2026-01", "-o", "report", "--format", "csv")
    assert json.loads((home / "JANUARY.JSON").read_text())["period"]["label"] == "2026-01"
    assert (home / "report").read_text().startswith("session,machine,")


@pytest.mark.parametrize("form", ["text", "html", "xlsx", "json"])
def test_a_place_that_cannot_be_written_leaves_nothing_behind(home, form):
    (home / "file").write_text("kept")
    with pytest.raises(CostctlError, match=r"cannot write file/report: Not a directory"):
        run("--month", "2026-01", "--format", form, "-o", "file/report")
    assert [path.name for path in home.iterdir()] == ["file"]
    assert (home / "file").read_text() == "kept"


@pytest.mark.parametrize("form", FORMS)
def test_a_month_in_which_nothing_was_used_is_a_report_in_every_form(home, form):
    text = run("--month", "2026-09", "--format", form, "--currency", "USD", "--baseline", "A10G")
    if form == "json":
        assert json.loads(text)["totals"]["costs"] == {}
    elif form == "csv":
        assert list(csv.DictReader(io.StringIO(text))) == []
    else:
        assert re.search(r"No session lies in 2026\\?-09", text)
        assert "2026-06-29" in text.replace("\\", "")


def test_a_workbook_of_nothing_opens(home):
    run("--month", "2026-09", "-o", "empty.xlsx")
    (sheet,) = openpyxl.load_workbook(home / "empty.xlsx")
    assert "No session lies in 2026-09." in [cell.value for cell in sheet["A"]]


def test_names_of_models_are_only_text_in_every_form(home):
    """The year has a model `<b>tiny</b>`, and one `=SUM(1,2)`."""
    page = run("--month", "2026-01", "--format", "html")
    assert "&lt;b&gt;tiny&lt;/b&gt;" in page
    assert "<b>" not in page
    markdown = run("--month", "2026-01", "--format", "markdown")
    parts = [
        part
        for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
        for part in token.children or [token]
    ]
    assert "<b>tiny</b>" in "".join(part.content for part in parts)
    assert {part.type for part in parts} & {"html_inline", "html_block"} == set()
    run("--month", "2026-01", "-o", "january.xlsx")
    cells = [cell for sheet in openpyxl.load_workbook("january.xlsx") for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells if cell.value == "=SUM(1,2)"} == {"s"}
    assert not [cell for cell in cells if cell.data_type == "f"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_has_had_enough_is_no_fault(home, form):
    command = [sys.executable, "-m", "costctl", "report", "--month", "2026-01", "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (0, b"")
