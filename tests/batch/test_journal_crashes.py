"""Killed at any instant, a batch loses nothing that was safe, and nothing is there twice."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costctl.batch.checking import Fingerprint
from costctl.batch.journal import Journal
from costctl.batch.paths import BatchPaths
from costctl.batch.records import HEADER_BYTES, RECORD_BYTES
from costctl.batch.results import Failure, Result

JOB = Fingerprint(source=b"s" * 16, defaults=b"d" * 16)
TOTAL = 12
CHANGES = ("open", "os.rename", "os.remove", "os.truncate")


def opened(paths, **options):
    return Journal.open(paths, JOB, TOTAL, **options)


def record(journal, line):
    outcome = Result(status_code=200, body=b'{"n":%d}' % line) if line % 3 else Failure(code="x", message="y" * line)
    journal.record(line, str(line), outcome)


def complete(paths, *, in_order=False, **options):
    with opened(paths, **options) as journal:
        for line in range(1, TOTAL + 1):
            if not journal.is_done(line):
                record(journal, line)
        journal.finish(in_order=in_order)


def lines_in(path):
    return [int(json.loads(line)["custom_id"]) for line in path.read_bytes().splitlines()]


def assert_whole(paths):
    assert sorted(lines_in(paths.results)) == [line for line in range(1, TOTAL + 1) if line % 3]
    assert sorted(lines_in(paths.errors)) == [line for line in range(1, TOTAL + 1) if not line % 3]
    names = {path.name for path in paths.results.parent.iterdir()}
    assert names == {"results.jsonl", "results.errors.jsonl", "results.jsonl.journal"}


@settings(max_examples=40)
@given(
    order=st.permutations(range(1, TOTAL + 1)),
    counts=st.tuples(st.integers(0, TOTAL), st.integers(0, TOTAL)),
    cuts=st.tuples(*[st.integers(0, 400)] * 3),
    garbage=st.binary(max_size=60),
    spares_what_is_safe=st.booleans(),
)
def test_files_cut_at_any_byte(order, counts, cuts, garbage, spares_what_is_safe):
    safe, written = counts
    with tempfile.TemporaryDirectory() as folder:
        paths = BatchPaths(results=Path(folder) / "results.jsonl")
        files = (paths.results_part, paths.errors_part, paths.journal)
        with opened(paths) as journal:
            for line in order[:safe]:
                record(journal, line)
            journal.sync()
            sizes = [path.stat().st_size for path in files]
            for line in order[safe : safe + written]:
                record(journal, line)
        # Records are written when the results are safe: while a result is torn, no new record has been begun.
        results_are_safe = spares_what_is_safe and cuts[-1] > sizes[-1]
        for path, size, cut in zip(files, sizes, cuts, strict=True):
            least = size if spares_what_is_safe else HEADER_BYTES * (path == paths.journal)
            torn = garbage if spares_what_is_safe else b""
            if path == paths.journal or not results_are_safe:
                path.write_bytes(path.read_bytes()[: max(least, cut)] + torn)
        with opened(paths) as journal:
            done = {line for line in order if journal.is_done(line)}
            assert len(done) == journal.done_count
            assert done <= set(order[: safe + written])
            assert not spares_what_is_safe or done >= set(order[:safe])
        assert paths.journal.stat().st_size == HEADER_BYTES + RECORD_BYTES * len(done)
        assert sorted(lines_in(paths.results_part) + lines_in(paths.errors_part)) == sorted(done)
        complete(paths)
        assert_whole(paths)


@pytest.mark.parametrize("size", [0, 1, 8, HEADER_BYTES - 1])
def test_killed_before_the_journal_had_its_header(tmp_path, size):
    paths = BatchPaths(results=tmp_path / "results.jsonl")
    opened(paths).abandon()
    begun = paths.journal.read_bytes()[:size]
    for path in tmp_path.iterdir():
        path.unlink()
    paths.journal.write_bytes(begun)
    complete(paths)
    assert_whole(paths)


def dies_at(change, work):
    """Do `work` in a process that is killed before its n-th change to files; return whether it was."""
    with warnings.catch_warnings(action="ignore"):  # of threads, which the child does without
        child = os.fork()
    if not child:
        seen = 0

        def die(event, _args):
            nonlocal seen
            seen += event in CHANGES
            if seen == change:
                os._exit(9)

        sys.addaudithook(die)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def finish(paths):
    with opened(paths) as journal:
        for line in range(TOTAL, 0, -1):
            record(journal, line)
    complete(paths)


def finish_in_order(paths):
    with opened(paths) as journal:
        for line in range(TOTAL, 0, -1):
            record(journal, line)
    complete(paths, in_order=True)


def rerun(paths):
    complete(paths, in_order=True)
    complete(paths, rerun_failed=True)


def rerun_in_order(paths):
    complete(paths)
    complete(paths, rerun_failed=True, in_order=True)


@pytest.mark.parametrize("work", [finish, finish_in_order, rerun, rerun_in_order])
def test_killed_before_any_change_to_its_files(tmp_path, work):
    change = 0
    died = True
    while died:
        change += 1
        folder = tmp_path / str(change)
        folder.mkdir()
        paths = BatchPaths(results=folder / "results.jsonl")
        died = dies_at(change, lambda paths=paths: work(paths))
        complete(paths)
        assert_whole(paths)
    assert change > 15


def test_killed_before_the_last_change_and_then_run_again(tmp_path):
    paths = BatchPaths(results=tmp_path / "results.jsonl")
    with opened(paths) as journal:
        for line in range(TOTAL, 0, -1):
            record(journal, line)
    as_they_came = paths.results_part.read_bytes()
    complete(paths, in_order=True)
    paths.results_part.write_bytes(as_they_came)
    complete(paths, rerun_failed=True, in_order=True)
    assert_whole(paths)
    assert lines_in(paths.results) == sorted(lines_in(paths.results))


KILLED = """
import sys
from pathlib import Path
from costctl.batch.checking import Fingerprint
from costctl.batch.journal import Journal
from costctl.batch.paths import BatchPaths
from costctl.batch.records import HEADER_BYTES, RECORD_BYTES
from costctl.batch.results import Result
journal = Journal.open(BatchPaths(results=Path(sys.argv[1])), Fingerprint(source=b"s" * 16, defaults=b"d" * 16), 10**9)
line = max([0, *(int(line) for line in range(1, 10**5) if journal.is_done(line))])
while True:
    for line in range(line + 1, line + 11):
        journal.record(line, str(line), Result(status_code=200, body=b'{}'))
    journal.sync()
    print(line, flush=True)
"""


def test_a_process_that_is_killed_again_and_again(folder):
    safe = 0
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, folder.paths.results], stdout=subprocess.PIPE, text=True
        )
        for _ in range(50):
            safe = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        safe = max([safe, *map(int, rest.split())])
    with Journal.open(folder.paths, JOB, 10**9) as journal:
        assert journal.done_count >= safe >= 1500
        assert all(journal.is_done(line) for line in range(1, safe + 1))
    done = lines_in(folder.paths.results_part)
    assert done == list(range(1, len(done) + 1))
