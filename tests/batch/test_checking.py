"""A file of requests as a whole: its encodings, its sizes, its repeats."""

import gzip
import json
import os
import subprocess
import sys
import threading

import pytest

from costctl.batch.checking import check
from costctl.batch.defaults import Defaults
from costctl.batch.jobs import read_jobs
from costctl.batch.paths import BatchPaths
from costctl.batch.repeats import Repeats
from costctl.batch.sources import open_source
from costctl.batch.values import Form, Identical, Problem
from costctl.errors import BadValueError, CostctlError

TWO = '{"prompt": "a"}\n{"prompt": "b"}\n'
DEFAULTS = Defaults(model="qwen")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TWO.encode(),
        TWO.replace("\n", "\r\n").encode(),
        b"\n \n" + TWO.encode().rstrip(),
        gzip.compress(TWO.encode()),
        gzip.compress(b"\xef\xbb\xbf" + TWO.encode()),
    ],
    ids=["BOM", "CRLF", "blank lines", "gzip", "gzip and BOM"],
)
def test_ways_to_write_the_same_requests(folder, content):
    assert [job.body for job in folder.jobs(content)] == [job.body for job in folder.jobs(TWO)]


def test_a_table_of_prompts_is_read_by_its_header(folder):
    text = '\ufeffID;Note;Prompt;System\r\nx;1;"two\r\nlines; ""quoted""";s\r\n\r\n;2;plain;\r\n'
    jobs = folder.jobs(text, "prompts.csv")
    messages = [json.loads(job.body)["messages"] for job in jobs]
    assert [(job.line, job.custom_id, job.form) for job in jobs] == [(2, "x", Form.TABLE), (5, "line-5", Form.TABLE)]
    assert messages[0][0] == {"role": "system", "content": "s"}
    assert messages[0][1]["content"] == 'two\r\nlines; "quoted"'
    assert messages[1] == [{"role": "user", "content": "plain"}]


def test_a_table_is_known_by_its_header_whatever_the_file_is_called(folder):
    assert folder.check("prompt,id\na,1\n", "data.txt").forms == {Form.TABLE}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("question,id\na,1\n", ["line 1: a table needs the column 'prompt', and this has ['question', 'id']"]),
        ("prompt,id\n,1\n", ["line 2: the prompt is empty"]),
        ('prompt\na\n"b\nc\n', ["line 3: not CSV: unexpected end of data"]),
        ('prompt\n"a"b\nc\n', ["line 2: not CSV: ',' expected after '\"'"]),
    ],
)
def test_rows_that_are_no_requests(folder, text, told):
    assert folder.problems(text, "x.csv") == told


def test_invalid_utf_8_is_told_by_line_and_byte(folder):
    assert folder.problems(TWO.encode() + b'{"prompt": "\xff"}\n') == [
        "line 3: byte 13 is not UTF-8: save the file as UTF-8"
    ]


def test_utf_16_as_powershell_writes_it(folder):
    assert folder.problems(TWO.encode("utf-16")) == ["line 1: the file is in UTF-16: save it as UTF-8"]


def test_damaged_gzip_is_a_problem_of_the_file(folder):
    packed = gzip.compress(os.urandom(5000).hex().encode())
    assert "the gzip file is damaged from here on" in folder.problems(packed[: len(packed) // 2])[0]


def test_a_line_that_is_too_long_is_skipped_without_holding_it(folder):
    source = folder.source('{"prompt": "a"}\n' + "x" * 5000 + '\n{"prompt": "b"}\n' + "y" * 21)
    seen = []
    lines = list(source.lines(feed=lambda raw: seen.append(len(raw)), longest_bytes=20))
    assert [one if isinstance(one, Problem) else one[0] for one in lines] == [
        1,
        Problem(line=2, text="5,001 bytes long, of at most 20"),
        3,
        Problem(line=4, text="21 bytes long, of at most 20"),
    ]
    assert sum(seen) == source.size_bytes


def test_all_problems_are_counted_and_the_first_are_told(folder):
    checked = folder.check("x\n" * 1234)
    assert (checked.problem_count, len(checked.problems)) == (1234, 20)
    with pytest.raises(BadValueError, match=r"(?s)jobs.jsonl has 1,234 problems.*line 20:.*and 1,214 more"):
        checked.demand_sound()


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b""), b"prompt\n"])
def test_a_file_without_requests_is_refused(folder, content):
    with pytest.raises(BadValueError, match="empty"):
        folder.check(content).demand_sound()


def test_what_is_no_file_is_refused(folder):
    with pytest.raises(BadValueError, match="is a directory"):
        open_source(str(folder.path), folder.paths)
    with pytest.raises(BadValueError, match=r"cannot read .*: No such file"):
        open_source(str(folder.path / "none.jsonl"), folder.paths)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(folder):
    source = folder.source(TWO)
    source.path.chmod(0)
    with pytest.raises(BadValueError, match="Permission denied"):
        open_source(str(source.path), folder.paths)


def test_names_that_are_used_twice_are_told_with_both_lines(folder):
    text = "".join(json.dumps({"prompt": str(n), "id": name}) + "\n" for n, name in enumerate("abcab"))
    assert folder.problems(text) == [
        "line 4: custom_id 'a' is that of line 1 too",
        "line 5: custom_id 'b' is that of line 2 too",
    ]


def test_requests_that_ask_for_the_same_are_found(folder):
    lines = [
        '{"prompt": "a", "top_p": 1, "top_k": 2}',
        '{"prompt": "b"}',
        '{"top_k": 2, "top_p": 1, "prompt": "a"}',
        '{"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a"}}',
        '{"prompt": "a", "top_p": 1, "top_k": 2, "stream": true}',
    ]
    checked = folder.check("\n".join(lines))
    assert [checked.first_line(line) for line in range(1, 6)] == [1, 2, 1, 4, 1]
    assert (checked.total, checked.unique_requests) == (5, 3)


@pytest.mark.parametrize(
    ("fields", "auto"),
    [
        ({}, 1),
        ({"temperature": 0}, 1),
        ({"temperature": 0.7}, 3),
        ({"temperature": 0.7, "seed": 0}, 1),
        ({"temperature": 0.7, "seed": None}, 3),
    ],
)
def test_requests_for_samples_are_computed_each_unless_it_is_said_otherwise(folder, fields, auto):
    source = folder.source((json.dumps({"prompt": "a", **fields}) + "\n") * 3)
    uniques = [check(source, Defaults(model="qwen"), identical=each).unique_requests for each in Identical]
    assert uniques == [auto, 1, 3]


def test_what_is_not_sampled_is_no_sample_whatever_temperature_it_states(folder):
    line = {"url": "/v1/embeddings", "body": {"input": "a", "temperature": 1}}
    assert folder.check((json.dumps(line) + "\n") * 2).unique_requests == 1


def test_texts_with_the_same_hash_are_told_apart():
    """Equal hashes cannot be made on purpose, so the texts that are shown differ from those that were hashed."""
    repeats = Repeats([hash("a"), hash("a"), hash("b")])
    repeats._digests[:] = bytes(16)
    repeats._first_lines[0] = 1
    assert repeats.first_line(2, "a") == 2
    assert repeats.first_line(3, "b") == 3


def test_only_wanted_lines_are_read_again(folder):
    for name, text in (("x.jsonl", TWO), ("x.csv", "prompt\na\n")):
        jobs = read_jobs(folder.source(text, name), DEFAULTS, wanted=lambda line: line == 2)
        assert [job.line for job in jobs] == [2]


def test_a_file_that_changes_between_check_and_run_is_noticed(folder):
    source = folder.source(TWO)
    check(source, DEFAULTS)
    source.path.write_text(TWO + TWO)
    with pytest.raises(CostctlError, match="was changed while it was used"):
        next(read_jobs(source, DEFAULTS))


def test_the_fingerprint_is_of_the_content_and_of_the_values_for_all(folder):
    plain, packed = folder.check(TWO).fingerprint, folder.check(gzip.compress(TWO.encode()), "x.gz").fingerprint
    other, warmer = folder.check(TWO + "\n").fingerprint, folder.check(TWO, defaults=Defaults(model="q")).fingerprint
    assert plain == packed
    assert (plain.source != other.source, plain.defaults) == (True, other.defaults)
    assert (plain.source, plain.defaults != warmer.defaults) == (warmer.source, True)


def test_models_are_counted(folder):
    text = "".join(f'{{"prompt": "a", "model": "{name}"}}\n' for name in "abb")
    assert folder.check(text).models == ("b", "a")


def test_a_pipe_is_kept_beside_the_results_to_be_read_twice(folder):
    pipe = folder.path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TWO,))
    writer.start()
    source = open_source(str(pipe), folder.paths)
    writer.join()
    assert [len(list(read_jobs(source, DEFAULTS))) for _ in range(2)] == [2, 2]
    assert source.path == folder.paths.spool


def test_standard_input_is_kept_too(folder):
    code = (
        "import sys; from pathlib import Path; from costctl.batch.paths import BatchPaths;"
        "from costctl.batch.sources import open_source;"
        "print(open_source('-', BatchPaths(results=Path(sys.argv[1]))).name)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, folder.paths.results], input=TWO, capture_output=True, text=True, check=True
    )
    assert told.stdout == "standard input\n"
    assert folder.paths.spool.read_text() == TWO


def test_a_batch_does_not_overwrite_its_own_input(folder):
    with pytest.raises(BadValueError, match="is the input"):
        folder.source(TWO, folder.paths.results.name)


def test_names_of_results(folder):
    assert BatchPaths(results=folder.path / "out").errors.name == "out.errors"
    assert folder.paths.errors_part.name == "results.errors.jsonl.part"
    with pytest.raises(BadValueError, match="is a directory"):
        BatchPaths(results=folder.path)
    with pytest.raises(BadValueError, match=r"name .*out\.jsonl instead"):
        BatchPaths(results=folder.path / "out.jsonl.gz")
