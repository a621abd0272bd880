"""The reports of the generated year are the golden ones, to the byte."""

import pytest

from tests.reports import golden


@pytest.fixture(scope="module")
def files(year_url, tmp_path_factory):
    with golden.alone(tmp_path_factory.mktemp("home"), year_url, golden.CONFIGURATION):
        return golden.golden_files()


@pytest.mark.parametrize("name", golden.GOLDEN)
def test_a_report_is_the_golden_one(files, name):
    problem = golden.difference(name, files[name])
    if problem:
        pytest.fail(problem, pytrace=False)


def test_there_are_no_other_golden_files():
    assert {path.name for path in golden.FOLDER.iterdir()} == {*golden.GOLDEN, golden.CONFIGURATION.name}


@pytest.mark.parametrize(
    ("name", "line"),
    [("january.csv", "-189,t4-box,"), ("january.xlsx", "-In short!A1: 'GPU cost, 2026-01' s General bold")],
)
def test_a_difference_is_shown_with_what_to_do(files, name, line):
    problem = golden.difference(name, files[name.replace("january", "empty")])
    assert "`make golden`" in problem
    assert f"\n{line}" in problem
    assert len(problem.splitlines()) <= 22
