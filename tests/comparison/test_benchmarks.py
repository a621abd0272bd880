"""Benchmarks: files of vLLM, the ledger's verbs, and the commands."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from costctl.adapters.bench_results import read_bench_result
from costctl.cli.root import cli
from costctl.domain.roofline import Traffic
from costctl.domain.workload import Measure
from costctl.errors import BadValueError, CostctlError, LedgerError, RefusedError
from costctl.ledger.store import Ledger

RESULT = {
    "date": "20260131-235959",
    "endpoint_type": "openai-chat",
    "model_id": "Qwen/Qwen3-1.7B",
    "num_prompts": 2000,
    "max_concurrency": 256,
    "duration": 21.55,
    "completed": 2000,
    "total_input_tokens": 512_000,
    "total_output_tokens": 256_000,
    "request_throughput": 92.8,
    "output_throughput": 11_872.0,
}


@pytest.fixture
def file(tmp_path):
    def write(content=None, **changes):
        path = tmp_path / "l4.json"
        path.write_text(json.dumps(RESULT | changes) if content is None else content)
        return path

    return write


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COSTCTL_LEDGER", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, error=None):
        result = CliRunner().invoke(cli, ["benchmarks", *map(str, arguments)])
        if error is not None:
            assert isinstance(result.exception, error), result.output
            return str(result.exception)
        assert result.exception is None, (result.output, result.exception)
        return result.stdout

    return run


def test_a_result_of_vllm_is_read(file):
    found = read_bench_result(file(), gpu="L4")
    assert (found.model, found.gpu, found.gpu_count, found.concurrency) == ("Qwen/Qwen3-1.7B", "L4", 1, 256)
    assert found.traffic == Traffic(requests=2000, prompt_tokens=512_000, generation_tokens=256_000)
    assert (found.busy, found.is_benchmark) == (timedelta(seconds=21.55), True)
    assert read_bench_result(file(max_concurrency=None), gpu="L4", model="mine").concurrency is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"duration": 0}, "its duration is 0 seconds"),
        ({"duration": "long"}, "'duration' is 'long', not a number"),
        ({"duration": None}, "'duration' is missing"),
        ({"completed": 1.5}, "'completed' is 1.5, not a whole number"),
        ({"total_input_tokens": -1}, "'total_input_tokens' is -1"),
        ({"total_output_tokens": 0}, "no token was written, so all requests failed"),
        ({"total_output_tokens": 2**70}, "not a whole number"),
        ({"max_concurrency": 0}, "'max_concurrency' is 0, not a whole number from 1"),
        ({"model_id": ""}, "'model_id' is missing"),
        ({"date": "yesterday"}, "'date' is 'yesterday', not like 20260131-235959"),
    ],
)
def test_a_result_with_holes_is_refused(file, changes, words):
    with pytest.raises(BadValueError, match="is no result of `vllm bench serve --save-result`") as caught:
        read_bench_result(file(**changes), gpu="L4")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "[1]", "{", '{"a": 1}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_another_file_is_refused(file, content):
    with pytest.raises(BadValueError, match=r"l4\.json is"):
        read_bench_result(file(content), gpu="L4")


def test_not_a_number_is_refused(file):
    """Python's JSON reads NaN and Infinity, which no benchmark lasts."""
    for text in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(BadValueError, match="its duration is"):
            read_bench_result(file(json.dumps(RESULT).replace("21.55", text)), gpu="L4")


def test_benchmarks_come_back_from_the_ledger_as_they_went_in(tmp_path):
    benchmark = Measure(
        model="m",
        gpu="L4",
        gpu_count=2,
        traffic=Traffic(requests=1, prompt_tokens=2, generation_tokens=3),
        busy=timedelta(microseconds=4),
        measured_at=datetime(2026, 1, 31, tzinfo=UTC),
        is_benchmark=True,
        concurrency=None,
        source="here",
    )
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        assert ledger.add_benchmark(benchmark) == 1
        with pytest.raises(RefusedError, match="as number 1"):
            ledger.add_benchmark(benchmark)
        (found,) = ledger.benchmarks()
        assert {name: getattr(found, name) for name in Measure.__slots__ if name != "id"} == {
            name: getattr(benchmark, name) for name in Measure.__slots__ if name != "id"
        }
        assert ledger.remove_benchmark(1) == found
        assert ledger.benchmarks() == []
        with pytest.raises(LedgerError, match="no benchmark 1"):
            ledger.remove_benchmark(1)


def test_a_benchmark_is_imported_listed_and_removed(run, file):
    assert run("list") == "no benchmarks; import one with `costctl benchmarks import`\n"
    assert run("import", file(), "--gpu", "nvidia l4") == "benchmark 1: Qwen/Qwen3-1.7B on 1 x L4\n"
    cells = run("list").splitlines()[-1].split()
    assert cells[:6] == ["1", "Qwen/Qwen3-1.7B", "1", "x", "L4", "256"]
    assert cells[6] == "11879.4"
    assert run("remove", "1") == "removed benchmark 1: Qwen/Qwen3-1.7B on 1 x L4\n"


def test_what_is_wrong_with_an_import_is_said(run, file, tmp_path):
    assert "'L5' is not a GPU" in run("import", file(), "--gpu", "L5", error=BadValueError)
    assert "cannot read" in run("import", tmp_path / "none.json", "--gpu", "L4", error=BadValueError)
    run("import", file(), "--gpu", "L4")
    assert "already" in run("import", file(), "--gpu", "L4", error=RefusedError)
    assert "no benchmark 7" in run("remove", "7", error=CostctlError)
