"""Lines that a batch leaves undone."""

import json

import pytest

from costctl.batch.checking import check
from costctl.batch.defaults import Defaults
from costctl.batch.jobs import read_jobs
from costctl.batch.journal import Journal
from costctl.batch.leftovers import give_up
from costctl.batch.results import Failure, Result
from costctl.batch.runner import Work

DEFAULTS = Defaults(model="qwen")
EXPIRED = Failure(code="batch_expired", message="too late")
ANSWER = Result(status_code=200, body=b'{"text":"fine"}')
LINES = "".join(json.dumps({"custom_id": f"c{line}", "prompt": prompt}) + "\n" for line, prompt in enumerate("abab", 1))


@pytest.fixture
def leave(folder):
    """Do some lines of a batch whose lines 3 and 4 ask for what 1 and 2 do, and give up the others."""
    source = folder.source(LINES)
    checked = check(source, DEFAULTS)
    work = Work(
        jobs=lambda wanted: read_jobs(source, DEFAULTS, wanted=wanted),
        first_line=checked.first_line,
        has_repeats=True,
    )

    def left(*done):
        with Journal.open(folder.paths, checked.fingerprint, checked.total) as journal:
            for line in done:
                journal.record(line, f"c{line}", ANSWER)
        with Journal.open(folder.paths, checked.fingerprint, checked.total) as journal:
            give_up(work, journal, EXPIRED)
        return [_ids(path) for path in (folder.paths.results, folder.paths.errors) if path.exists()]

    return left


def _ids(path):
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def test_every_line_is_in_one_of_the_two_files_and_repeats_of_a_done_one_are_done(folder, leave):
    assert leave(1) == [["c1", "c3"], ["c2", "c4"]]
    for line in folder.paths.errors.read_text().splitlines():
        assert (json.loads(line)["response"], json.loads(line)["error"]["code"]) == (None, "batch_expired")


def test_of_a_batch_of_which_nothing_is_done_all_lines_are_given_up(leave):
    assert leave() == [[], ["c1", "c2", "c3", "c4"]]


def test_a_batch_that_is_done_has_nothing_to_give_up(leave):
    assert leave(1, 2, 3, 4) == [["c1", "c2", "c3", "c4"]]
