"""The journal as its users see it: new, interrupted, finished, and somebody else's."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from costctl.batch.checking import Fingerprint
from costctl.batch.journal import Journal
from costctl.batch.records import HEADER_BYTES, RECORD_BYTES
from costctl.batch.results import Failure, Result, renamed, result_line
from costctl.errors import BadValueError, CostctlError, RefusedError

JOB = Fingerprint(source=b"s" * 16, defaults=b"d" * 16)
LOST = Failure(code="timeout", message="no answer in 600 s")


def answer(text="fine"):
    return Result(status_code=200, body=json.dumps({"text": text}).encode(), request_id="r")


def refusal():
    return Result(status_code=400, body=b'{"error": "too long"}')


@pytest.fixture
def opened(folder):
    def open_journal(total=3, job=JOB, **options):
        return Journal.open(folder.paths, job, total, **options)

    return open_journal


def fill(journal, outcomes):
    for line, outcome in outcomes.items():
        journal.record(line, f"job-{line}", outcome)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids_of(path):
    return [line["custom_id"] for line in lines_of(path)]


def test_results_are_as_openai_writes_them_and_have_their_names_when_all_are_there(folder, opened):
    with opened() as journal:
        fill(journal, {2: answer(), 1: refusal(), 3: LOST})
        journal.sync()
        assert folder.names() == ["results.errors.jsonl.part", "results.jsonl.journal", "results.jsonl.part"]
        journal.finish()
    assert folder.names() == ["results.errors.jsonl", "results.jsonl", "results.jsonl.journal"]
    assert lines_of(folder.paths.results) == [
        {
            "id": "batch_req_73737373_2",
            "custom_id": "job-2",
            "response": {"status_code": 200, "request_id": "r", "body": {"text": "fine"}},
            "error": None,
        }
    ]
    refused, lost = lines_of(folder.paths.errors)
    assert (refused["response"]["status_code"], refused["response"]["body"]) == (400, {"error": "too long"})
    assert (lost["response"], lost["error"]) == (None, {"code": "timeout", "message": "no answer in 600 s"})


def test_a_batch_goes_on_where_it_was_left(opened):
    with opened() as journal:
        fill(journal, {3: answer(), 1: LOST})
    with opened() as journal:
        assert [journal.is_done(line) for line in range(5)] == [False, True, False, True, False]
        assert (journal.done_count, journal.failed_count, list(journal.failed_lines())) == (2, 1, [1])


def test_results_can_be_put_into_the_order_of_their_lines(folder, opened):
    with opened(total=5) as journal:
        fill(journal, {5: answer(), 4: LOST, 1: answer("a" * 100_000), 3: answer(), 2: LOST})
        journal.finish(in_order=True)
    assert ids_of(folder.paths.results) == ["job-1", "job-3", "job-5"]
    assert ids_of(folder.paths.errors) == ["job-2", "job-4"]
    assert folder.names() == ["results.errors.jsonl", "results.jsonl", "results.jsonl.journal"]


@pytest.mark.parametrize("in_order", [False, True])
def test_lines_that_failed_are_run_again_after_the_batch_is_finished(folder, opened, in_order):
    with opened() as journal:
        fill(journal, {3: answer("kept"), 2: LOST, 1: answer()})
        journal.finish(in_order=in_order)
    with opened(rerun_failed=True) as journal:
        assert (journal.is_finished, journal.done_count, journal.is_done(2)) == (False, 2, False)
        assert not folder.paths.results.exists()
        journal.copy(2, "job-2", of=3)
        journal.finish(in_order=in_order)
    assert not folder.paths.errors.exists()
    texts = {line["custom_id"]: line["response"]["body"]["text"] for line in lines_of(folder.paths.results)}
    assert texts == {"job-1": "fine", "job-2": "kept", "job-3": "kept"}
    assert not in_order or list(texts) == ["job-1", "job-2", "job-3"]


def test_lines_that_failed_are_run_again_before_the_batch_is_finished(folder, opened):
    with opened() as journal:
        fill(journal, {1: LOST, 2: answer()})
    with opened(rerun_failed=True) as journal:
        assert (journal.done_count, folder.paths.errors_part.read_bytes()) == (1, b"")


@pytest.mark.parametrize("options", [{}, {"rerun_failed": True}])
def test_a_finished_batch_is_known_to_be_finished(folder, opened, options):
    with opened(total=1) as journal:
        fill(journal, {1: answer()})
        journal.finish()
    before = folder.paths.results.read_bytes()
    with opened(total=1, **options) as journal:
        assert (journal.is_finished, journal.done_count, journal.failed_count) == (True, 1, 0)
        journal.finish()
        with pytest.raises(ValueError, match="done already"):
            fill(journal, {2: answer()})
    assert folder.paths.results.read_bytes() == before


def test_a_batch_whose_results_were_taken_away_begins_anew(folder, opened):
    with opened(total=1) as journal:
        fill(journal, {1: answer()})
        journal.finish()
    folder.paths.results.rename(folder.path / "elsewhere.jsonl")
    with opened(total=1) as journal:
        assert journal.done_count == 0


def test_restarting_removes_what_is_there(folder, opened):
    with opened() as journal:
        fill(journal, {1: answer(), 2: LOST, 3: answer()})
        journal.finish()
    other = Fingerprint(source=b"o" * 16, defaults=b"d" * 16)
    with opened(job=other, restart=True) as journal:
        assert (journal.done_count, journal.is_finished) == (0, False)
    assert folder.names() == ["results.errors.jsonl.part", "results.jsonl.journal", "results.jsonl.part"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Fingerprint(source=b"o" * 16, defaults=b"d" * 16), "is of another batch: its input was another file"),
        (Fingerprint(source=b"s" * 16, defaults=b"o" * 16), "was begun with other values for all lines"),
    ],
)
def test_results_of_another_batch_are_left_alone(opened, other, told):
    with opened() as journal:
        fill(journal, {1: answer()})
    with pytest.raises(RefusedError, match=rf"{told}.* --restart"):
        opened(job=other)
    with opened() as journal:
        assert journal.done_count == 1


@pytest.mark.parametrize("name", ["results.jsonl", "results.errors.jsonl", "results.jsonl.part"])
def test_files_without_a_journal_are_left_alone(folder, opened, name):
    (folder.path / name).write_text("precious")
    with pytest.raises(RefusedError, match=rf"{name} exists already"):
        opened()
    assert (folder.names(), (folder.path / name).read_text()) == ([name], "precious")


@pytest.mark.parametrize(
    ("at", "told"), [(0, "it is no journal of costctl"), (8, "it is damaged"), (30, "it is damaged")]
)
def test_a_journal_that_cannot_be_read_is_left_alone(folder, opened, at, told):
    opened().abandon()
    content = bytearray(folder.paths.journal.read_bytes())
    content[at] ^= 1
    folder.paths.journal.write_bytes(content)
    with pytest.raises(RefusedError, match=told):
        opened()
    assert folder.paths.journal.read_bytes() == content


def test_two_cannot_work_on_one_batch(opened):
    with opened(), pytest.raises(RefusedError, match="another process is at work"):
        opened(restart=True)
    opened().abandon()


@pytest.mark.parametrize("place", ["-", "/dev/null"])
def test_results_that_could_not_be_gone_on_with_are_refused(folder, place):
    with pytest.raises(BadValueError, match="a file of their own"):
        type(folder.paths)(results=Path(place))


def test_a_folder_that_is_not_there_is_told_before_anything_is_read(folder):
    with pytest.raises(BadValueError, match=r"there is no folder .*/none for results.jsonl"):
        type(folder.paths)(results=folder.path / "none" / "results.jsonl")


def test_a_folder_that_went_away_is_told(folder):
    (folder.path / "none").mkdir()
    paths = type(folder.paths)(results=folder.path / "none" / "results.jsonl")
    (folder.path / "none").rmdir()
    with pytest.raises(CostctlError, match=r"cannot write .*/none/results.jsonl.journal: No such file or directory"):
        Journal.open(paths, JOB, 1)


def test_a_line_is_done_once_and_a_batch_is_finished_when_all_are(opened):
    with opened() as journal:
        fill(journal, {1: answer()})
        with pytest.raises(ValueError, match="line 1 is done already"):
            fill(journal, {1: LOST})
        with pytest.raises(ValueError, match="1 of 3 lines are done"):
            journal.finish()


@pytest.mark.parametrize("outcome", [answer('"}\\ ü'), refusal(), LOST])
def test_the_result_of_a_line_is_copied_to_one_that_asks_the_same(folder, opened, outcome):
    with opened(total=2) as journal:
        journal.record(1, 'tricky","custom_id":"\\', outcome)
        journal.copy(2, "naïve", of=1)
        with pytest.raises(KeyError):
            journal.copy(4, "d", of=3)
        journal.finish()
    path = folder.paths.results if outcome == answer('"}\\ ü') else folder.paths.errors
    first, second = lines_of(path)
    assert second == first | {"custom_id": "naïve", "id": "batch_req_73737373_2"}


@contextmanager
def files_no_larger_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_and_another_try_succeeds(folder, opened):
    with opened(total=40) as journal:
        fill(journal, {line: answer() for line in range(1, 11)})
        journal.sync()
        fill(journal, {line: answer() for line in range(11, 41)})
        with (
            files_no_larger_than(folder.paths.results_part.stat().st_size + 100),
            pytest.raises(CostctlError, match="the disk is full; 10 lines are safe, and the same command goes on"),
        ):
            journal.sync()
        assert journal.pending_count == 30
        journal.finish()
    assert ids_of(folder.paths.results) == [f"job-{line}" for line in range(1, 41)]


def test_after_a_full_disk_the_batch_goes_on_from_what_was_safe(folder, opened):
    journal = opened(total=40)
    fill(journal, {line: answer() for line in range(1, 11)})
    journal.sync()
    fill(journal, {line: answer() for line in range(11, 41)})
    with (
        files_no_larger_than(HEADER_BYTES + RECORD_BYTES * 12 + 3),
        pytest.raises(CostctlError, match="the disk is full"),
    ):
        journal.abandon()
    with opened(total=40) as journal:
        assert journal.done_count == 10
        assert len(ids_of(folder.paths.results_part)) == 10


def test_an_answer_of_several_lines_is_one_line():
    line = result_line("k", "a", Result(status_code=200, body=b'{\r\n  "a":\n1}'))
    assert (line.count(b"\n"), json.loads(line)["response"]["body"]) == (1, {"a": 1})


@pytest.mark.parametrize("status_code", [200, 502])
def test_an_answer_that_is_no_json_is_a_text(status_code):
    line = result_line("k", "a", Result(status_code=status_code, body=b"<h1>Bad \xff gateway</h1>\n"))
    assert json.loads(line)["response"]["body"] == "<h1>Bad \ufffd gateway</h1>\n"


def test_only_result_lines_are_renamed():
    with pytest.raises(ValueError, match="not a result line"):
        renamed(b'{"custom_id": "a"}\n', "k", "b")


def test_results_come_in_while_others_are_made_safe(folder, opened):
    total = 3000
    with opened(total=total) as journal, ThreadPoolExecutor() as pool:
        syncs = []
        for line in range(1, total + 1):
            journal.record(line, str(line), answer() if line % 7 else LOST)
            if line % 50 == 0:
                syncs.append(pool.submit(journal.sync))
        for sync in syncs:
            sync.result()
        assert journal.pending_count == 0
        journal.finish()
    assert sorted(map(int, ids_of(folder.paths.results) + ids_of(folder.paths.errors))) == list(range(1, total + 1))
