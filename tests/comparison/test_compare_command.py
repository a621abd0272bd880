"""`costctl compare` as people type it, with a real ledger in a home of its own."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.domain.money import parse_price
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.errors import BadValueError, LedgerMissingError
from costctl.ledger.store import Ledger

JANUARY = datetime(2026, 1, 12, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "Qwen/Qwen3-1.7B"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path / "home"))
    for name in ("PROVIDER", "INSTANCE_TYPE", "REGION", "MARKET", "PRICE", "LEDGER", "CONFIG", "IDLE_SHUTDOWN"):
        monkeypatch.delenv(f"COSTCTL_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def run(home):
    def run(*arguments, error=None):
        result = CliRunner().invoke(cli, ["compare", *arguments], standalone_mode=False)
        if error is not None:
            assert isinstance(result.exception, error), (result.output, result.exception)
            return getattr(result.exception, "message", str(result.exception))
        assert result.exception is None, (result.output, result.exception)
        return result.stdout

    return run


@pytest.fixture
def compared(run):
    return lambda *arguments: json.loads(run(*arguments, "--json"))


def record(ledger, started_at, *, gpu, price, busy=4 * HOUR, requests=4000, model=MODEL, provider=None):
    """Record a session: an hour of starting, `busy`, and an hour of idleness."""
    instance = Instance(machine=gpu, gpu=gpu, gpu_count=1, provider=provider)
    session_id = ledger.open_session(
        instance_id=ledger.register_instance(instance),
        key=f"{gpu} {started_at}",
        started_at=started_at,
        at=started_at,
        price=price and parse_price(price, source="flag", dated=started_at),
        phase=Phase.OFF,
    )
    command = ("vllm", "serve", model, "--max-model-len", "4096")
    ledger.begin_run(session_id, 1, engine="vllm", model="served", command=command, at=started_at)
    for phase, at in (
        (Phase.STARTING, started_at),
        (Phase.BUSY, started_at + HOUR),
        (Phase.IDLE, started_at + HOUR + busy),
    ):
        ledger.begin_phase(session_id, at=at, phase=phase, run=1)
    ledger.add_usage(
        session_id,
        hour_at=started_at + HOUR,
        model="served",
        requests=requests,
        prompt_tokens=requests * 512,
        generation_tokens=requests * 256,
    )
    ledger.close_session(session_id, at=started_at + busy + 2 * HOUR, reason=EndReason.IDLE)


@pytest.fixture
def ledger(home):
    with Ledger.open(f"sqlite:///{home / 'ledger.db'}") as opened:
        yield opened


PUBLISHED = ("--provider", "reference-cn", "--gpus", "T4", "--hours-per-week", "8", "--baseline", "A10G always-on")


def test_the_published_case_comes_out_exactly(compared):
    """168 h a week on an A10G at 3.0 CNY/h, or 8 h on a T4 at 1.8: 97.1 % less."""
    found = compared(*PUBLISHED)
    assert found["schema"] == "costctl.comparison/1"
    baseline, (t4,) = found["baseline"], found["gpus"]
    assert (baseline["price_per_hour"], baseline["currency"]) == ("3.00", "CNY")
    assert (baseline["cost"], baseline["cost_per_52_weeks"]) == ("504.00", "26208.00")
    (market,) = t4["markets"]
    assert market["as_run"] == {"cost": "14.40", "cost_per_52_weeks": "748.80"}
    assert market["less_than_baseline"] == pytest.approx(1 - 14.4 / 504, abs=1e-6)
    assert (t4["basis"], t4["fit"]) == ("unchanged", "unknown")
    assert (market["offer"]["provider"], market["offer"]["instance_type"], market["offer"]["dated"]) == (
        "reference-cn",
        "t4",
        "2026-01-22",
    )


def test_the_published_case_for_people(run):
    lines = [" ".join(line.split()) for line in run(*PUBLISHED, "--lang", "en").splitlines()]
    assert "baseline: A10G on-demand always on 504.00 CNY 26,208.00 CNY" in lines
    assert "T4 on-demand as run 97.1% 14.40 CNY 748.80 CNY" in lines


def test_it_is_plain_ascii_and_fits_a_pipe(home):
    command = [
        sys.executable,
        "-m",
        "costctl",
        "compare",
        "--model",
        MODEL,
        "--requests-per-day",
        "100",
        "--lang",
        "en",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 120


def test_requests_become_hours_by_an_estimate(compared):
    found = compared("--model", "qwen3-8b", "--requests-per-day", "1000", "--provider", "aws", "--context", "8192")
    by_gpu = {gpu["gpu"]: gpu for gpu in found["gpus"]}
    assert [by_gpu[name]["fit"] for name in ("T4", "L4", "A10G")] == ["too large", "fits", "fits"]
    assert by_gpu["A10G"]["basis"] == "estimated"
    assert by_gpu["A10G"]["as_run_seconds"] - by_gpu["A10G"]["busy_seconds"] == pytest.approx(7 * (1800 + 150))
    assert by_gpu["L4"]["busy_seconds"] > by_gpu["A10G"]["busy_seconds"]
    assert by_gpu["T4"]["markets"][0]["as_run"]["cost"] is None
    assert found["generation_tokens"] == 7 * 1000 * 256
    assert {market["market"] for market in by_gpu["L4"]["markets"]} == {"on-demand", "spot"}


def test_an_idle_window_that_is_set_is_what_a_start_costs(compared, monkeypatch):
    monkeypatch.setenv("COSTCTL_IDLE_SHUTDOWN", "2h")
    (gpu,) = compared("--model", MODEL, "--requests-per-day", "10", "--gpus", "L4", "--market", "on-demand")["gpus"]
    assert gpu["loads"][0]["carried_over_seconds"] == 7 * (7200 + 150)


def test_a_model_that_is_not_known_still_has_prices_and_hours(run, compared):
    arguments = ("--model", "who/knows", "--hours-per-week", "10", "--gpus", "L4", "--market", "on-demand")
    (gpu,) = compared(*arguments)["gpus"]
    assert (gpu["fit"], gpu["basis"], gpu["as_run_seconds"]) == ("unknown", "unchanged", 36_000)
    assert gpu["markets"][0]["as_run"]["cost"] is not None
    assert "Not known here, so neither is whether it fits: who/knows." in " ".join(
        run(*arguments, "--lang", "en").split()
    )


def test_a_month_that_was_is_compared_with_what_it_cost(ledger, run, compared):
    record(ledger, JANUARY, gpu="NVIDIA A10G", price="1.006 USD/h", provider="aws")
    found = compared("--like", "2026-01")
    (spent,) = found["spent"]
    assert (spent["gpu"], spent["cost"], spent["seconds"]) == ("A10G", "6.036", 6 * 3600)
    assert spent["always_on"] == "748.464"  # 31 days
    by_gpu = {gpu["gpu"]: gpu for gpu in found["gpus"]}
    assert (by_gpu["A10G"]["basis"], by_gpu["A10G"]["as_run_seconds"]) == ("measured", 6 * 3600)
    assert (by_gpu["T4"]["basis"], by_gpu["T4"]["flags"]) == (
        "estimated",
        ["--dtype half", "--attention-backend TRITON_ATTN"],
    )
    assert by_gpu["A10G"]["markets"][0]["price_per_hour"] == "1.006"
    assert by_gpu["T4"]["markets"][0]["offer"]["provider"] == "aws"  # where the A10G was
    assert "estimated by roofline" in by_gpu["T4"]["loads"][0]["assumption"]
    text = " ".join(run("--like", "2026-01", "--lang", "en").split())
    assert "Always on, the GPUs that were used would have cost 748.46 USD; it was 6.04 USD, 99.2% less." in text


def test_a_models_own_folder_is_read_and_a_broken_one_is_refused_only_before_it_ran(ledger, tmp_path, run, compared):
    config = {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
    config |= {"head_dim": 128, "intermediate_size": 6144, "vocab_size": 151936, "max_position_embeddings": 40960}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    planned = ("--model", "./mine", "--hours-per-week", "8", "--gpus", "L4")
    memory = compared(*planned)["gpus"][0]["loads"][0]["memory"]
    assert memory["weights_bytes"] == 4_063_232_000  # two bytes for each parameter: its embeddings are not shared
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert "'num_attention_heads' is None" in run(*planned, error=BadValueError)
    record(ledger, JANUARY, gpu="NVIDIA L4", price="1 USD/h", model="./mine")
    assert compared("--like", "2026-01", "--gpus", "L4")["gpus"][0]["fit"] == "unknown"


def test_none_is_cheaper_is_said_when_it_is_true(ledger, run, compared):
    record(ledger, JANUARY, gpu="Tesla T4", price="0.05 USD/h")
    (cheapest,) = compared("--like", "2026-01")["cheapest"]
    assert (cheapest["gpu"], cheapest["spent"], cheapest["none_is_cheaper"]) == ("T4", "0.30", True)
    assert "None is cheaper than what you have: 0.30 USD." in run("--like", "2026-01", "--lang", "en")


def test_sessions_of_two_currencies_are_not_added(ledger, compared):
    record(ledger, JANUARY, gpu="NVIDIA A10G", price="1 USD/h")
    record(ledger, JANUARY + 24 * HOUR, gpu="Tesla T4", price="1.8 CNY/h")
    found = compared("--like", "2026-01")
    assert [(part["currency"], part["cost"]) for part in found["spent"]] == [("USD", "6.00"), ("CNY", "10.80")]
    assert [part["spent"] for part in found["cheapest"]] == [None, None]


def test_with_a_rate_both_currencies_become_one_and_the_rate_is_shown(ledger, tmp_path, run, compared):
    (tmp_path / "costctl.toml").write_text('[[rate]]\nfrom = "USD"\nto = "CNY"\nrate = "7"\ndate = 2026-01-01\n')
    record(ledger, JANUARY, gpu="NVIDIA A10G", price="1 USD/h")
    record(ledger, JANUARY + 24 * HOUR, gpu="Tesla T4", price="1.8 CNY/h")
    arguments = ("--like", "2026-01", "--gpus", "A10G", "--market", "on-demand", "--currency", "CNY")
    found = compared(*arguments)
    assert [(part["currency"], part["cost"]) for part in found["spent"]] == [("CNY", "42.00"), ("CNY", "10.80")]
    (market,) = found["gpus"][0]["markets"]
    assert (market["price_per_hour"], market["currency"], market["converted_from"]) == ("7.00", "CNY", "USD")
    assert (market["offer"]["price_per_hour"], market["offer"]["currency"]) == ("1.00", "USD")
    assert [(rate["from"], rate["rate"], rate["used"]) for rate in found["rates"]] == [("USD", "7", 2)]
    text = " ".join(run(*arguments, "--lang", "en").split())
    assert "converted from USD" in text
    assert "1 USD = 7 CNY" in text
    planned = ("--hours-per-week", "8", "--gpus", "A10G", "--market", "on-demand", "--baseline", "A10G at 1 USD/h")
    assert compared(*planned, "--currency", "CNY")["baseline"]["cost"] == "1176.00"
    assert compared(*planned)["rates"] == []


def test_real_use_of_another_gpu_makes_it_measured(ledger, compared):
    """In the last days the same model ran on an L4: 8,000 requests in 2 hours of work."""
    lately = datetime.now(UTC) - timedelta(days=3)
    record(ledger, lately, gpu="NVIDIA L4", price=None, busy=2 * HOUR, requests=8000)
    record(ledger, JANUARY, gpu="NVIDIA A10G", price="1 USD/h")
    (l4,) = compared("--like", "2026-01", "--gpus", "L4")["gpus"]
    assert (l4["basis"], l4["loads"][0]["ground"], l4["busy_seconds"]) == ("measured", "ledger", 3600)


def test_an_imported_benchmark_makes_it_measured(ledger, home, tmp_path, compared):
    record(ledger, JANUARY, gpu="NVIDIA A10G", price="1 USD/h")
    result = {"date": "20260801-120000", "model_id": MODEL, "duration": 60.0, "completed": 400, "max_concurrency": 64}
    result |= {"total_input_tokens": 400 * 512, "total_output_tokens": 400 * 256}
    (tmp_path / "l4.json").write_text(json.dumps(result))
    CliRunner().invoke(cli, ["benchmarks", "import", "l4.json", "--gpu", "L4"], catch_exceptions=False)
    (l4,) = compared("--like", "2026-01", "--gpus", "L4")["gpus"]
    assert (l4["basis"], l4["loads"][0]["ground"]) == ("measured", "benchmark")
    assert "at saturation (64 requests at once)" in l4["loads"][0]["assumption"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--hours-per-week, --requests-per-day or --like"),
        (("--requests-per-day", "3"), "needs a --model"),
        (("--hours-per-week", "3", "--prompt-tokens", "4"), "--prompt-tokens cannot be used here"),
        (("--like", "2026-01", "--hours-per-week", "4"), "--hours-per-week cannot be used here"),
        (("--like", "2026-01", "--model", "x"), "--model cannot be used here"),
        (("--hours-per-week", "169"), "168"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, arguments, words):
    assert words in run(*arguments, error=click.UsageError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpus", "T9"), "'T9' is not a GPU that costctl knows"),
        (("--gpus", " , "), "' , ' is not a GPU"),
        (("--provider", "gcp", "--gpus", "A10G"), "no price of A10G at gcp is known; there are A100-40GB"),
        (("--provider", "nobody"), "known are aws, azure, gcp"),
        (("--region", "mars"), "the region 'mars'"),
        (("--currency", "XXX"), "'XXX' is not a currency in use"),
        (("--baseline", "A10G sometimes"), "write it as GPU"),
        (("--provider", "gcp", "--baseline", "A10G"), "add one, like 'at 3.0 CNY/h'"),
    ],
)
def test_what_does_not_exist_is_named(run, arguments, words):
    assert words in run("--hours-per-week", "8", *arguments, error=BadValueError)


def test_of_the_default_gpus_those_are_compared_that_the_provider_has(compared):
    assert [gpu["gpu"] for gpu in compared("--hours-per-week", "8", "--provider", "gcp")["gpus"]] == ["T4", "L4"]


def test_a_month_without_sessions_or_ledger_is_said(run, home):
    run("--like", "2026-01", error=LedgerMissingError)
    Ledger.open(f"sqlite:///{home / 'ledger.db'}").close()
    assert "no sessions in 2026-01" in run("--like", "2026-01", error=BadValueError)
    assert "not a month" in run("--like", "2026-13", error=BadValueError)


def test_before_there_is_a_ledger_its_library_is_not_loaded(home):
    program = (
        "import sys; sys.argv = ['costctl', 'compare', '--hours-per-week', '8', '--json']\n"
        "from costctl.cli.root import run\n"
        "run(debug=True)\n"
        "sys.stderr.write(' '.join(name for name in ('sqlalchemy', 'rich', 'aiohttp') if name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr == ""
