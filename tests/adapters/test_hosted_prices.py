"""The table that ships, and genai-prices: its types played by hand, and its real data where it is installed."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import pytest

from costctl import resources
from costctl.adapters.hosted import LIBRARY, hosted_prices, read_providers, shipped_prices

SHIPPED = 1126
FROM_LITELLM = 44
CATALOG = resources.folder("catalog")
TABLE = CATALOG / "hosted_prices.csv"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
READ_ALONE = """
import sys
def refuse(event, args):
    if event.startswith("socket."):
        raise SystemExit("the network was asked: " + event)
sys.addaudithook(refuse)
from datetime import UTC, datetime
from costctl.adapters.hosted import hosted_prices
found = hosted_prices(datetime(2026, 11, 22, tzinfo=UTC)).prices
print(len(found), found[-1].source, "imported" if "genai_prices" in sys.modules else "left alone", sep=", ")
"""
A_LIBRARY = """
from types import SimpleNamespace
from decimal import Decimal
prices = SimpleNamespace(input_mtok=Decimal(1), output_mtok=Decimal(2))
model = SimpleNamespace(id="qwen9-8b", prices=prices, deprecated=None, get_prices=lambda at: prices)
providers = [SimpleNamespace(id="novita", models=[model])]
"""


@dataclass
class Model:
    """What is read of genai-prices' ModelInfo; the last price whose start has come is taken."""

    id: str
    prices: list
    deprecated: bool | None = None
    asked: list = field(default_factory=list)

    def get_prices(self, at):
        self.asked.append(at)
        begun = [price for price in self.prices if not price.constraint or price.constraint.start_date <= at.date()]
        return begun[-1].prices


def priced(tokens_in, tokens_out, since=None):
    amounts = [Decimal(amount) if isinstance(amount, str) else amount for amount in (tokens_in, tokens_out)]
    return SimpleNamespace(
        constraint=SimpleNamespace(start_date=since) if since else None,
        prices=SimpleNamespace(input_mtok=amounts[0], output_mtok=amounts[1]),
    )


def read(*models, provider="novita", at=NOVEMBER):
    providers = [SimpleNamespace(id=provider, models=list(models))]
    return list(read_providers(providers, at=at, source="genai-prices 0.2.3"))


def test_the_table_that_ships_is_whole():
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(value == value.strip() and (value or name == "date") for row in rows for name, value in row.items())
    prices = shipped_prices()
    assert len(prices) == len(rows) == len(set(prices)) == SHIPPED
    amounts = {amount for price in prices for amount in (price.input_micros, price.output_micros)}
    assert (min(amounts), max(amounts)) == (6_880, 22_500_000)
    from_litellm = [price for price in prices if price.source == "litellm 1.109.1"]
    assert len(from_litellm) == FROM_LITELLM
    assert len(prices) - len(from_litellm) == sum(price.source.startswith(LIBRARY) for price in prices)


def test_what_the_table_has_of_the_library_is_what_the_library_says(tmp_path):
    release, day = re.search(rf"{LIBRARY} (\S+) \((\S+)\),", TABLE.read_text(encoding="utf-8")).groups()
    try:
        installed = version(LIBRARY)
    except PackageNotFoundError:
        pytest.skip(f"{LIBRARY} is not installed")
    if installed != release:
        pytest.skip(f"the table is of {LIBRARY} {release}, and {installed} is installed")
    without = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if LIBRARY not in line]
    made = tmp_path / "made.csv"
    made.write_text("".join(f"{line}\n" for line in without), encoding="utf-8")
    subprocess.run([sys.executable, CATALOG / "make_hosted_prices.py", day, made], check=True)
    assert made.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "google/gemma-3-27b-it", "gpt-oss-20b"]
)
def test_open_models_are_priced_without_the_library(model):
    (source,) = {price.source for price in hosted_prices(DECEMBER).of_model(model)}
    assert source.startswith(LIBRARY)


@pytest.mark.parametrize("model", ["gpt-5.4", "claude-opus-4-6", "gemini-3-pro-preview", "dolphin", "glm-5:batch"])
def test_what_nobody_runs_himself_is_not_in_the_table(model):
    assert hosted_prices(DECEMBER).of_model(model) == ()


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-8B-FP8", "meta-llama/Llama-3.1-8B"])
def test_the_small_models_that_people_rent_gpus_for_are_in_it(model):
    assert len(hosted_prices(NOVEMBER).of_model(model)) >= 3


def test_the_price_of_the_day_is_taken_with_its_date():
    model = Model("llama-3.1-8b", [priced("0.05", "0.05"), priced("0.02", "0.05", date(2026, 10, 18))])
    (new,) = read(model)
    assert (new.provider, new.model, new.input_micros, new.output_micros) == ("novita", "llama-3.1-8b", 20_000, 50_000)
    assert (new.dated, new.source) == (date(2026, 10, 18), "genai-prices 0.2.3")
    (old,) = read(model, at=datetime(2026, 1, 31, tzinfo=UTC))
    assert (old.input_micros, old.dated) == (50_000, None)


@pytest.mark.parametrize(
    "model",
    [
        Model("free", [priced("0", "0")]),
        Model("free:by-silence", [priced(None, None)]),
        Model("embedding", [priced("0.01", None)]),
        Model("withdrawn", [priced("1", "1")], deprecated=True),
    ],
)
def test_what_has_no_price_for_tokens_in_and_out_is_left_out(model):
    assert read(model) == []


def test_of_prices_by_the_length_of_the_prompt_the_one_for_short_ones_is_taken():
    tiers = SimpleNamespace(base=Decimal("0.3"), tiers=[SimpleNamespace(start=200_000, price=Decimal("0.6"))])
    (price,) = read(Model("tiered", [priced(tiers, "1.2")]))
    assert (price.input_micros, price.output_micros) == (300_000, 1_200_000)


def test_a_router_that_passes_prices_on_is_its_provider():
    (price,) = read(Model("m", [priced("1", "1")]), provider="huggingface_nscale")
    assert price.provider == "nscale"


def test_prices_that_begin_later_are_not_told():
    of_novita = [price for price in hosted_prices(NOVEMBER).of_model("Llama-3.1-8B") if price.provider == "novita"]
    assert date(2026, 10, 18) in {price.dated for price in of_novita}
    assert not [price for price in hosted_prices(NOVEMBER).prices if price.dated and price.dated > NOVEMBER.date()]
    assert [price for price in hosted_prices(DECEMBER).prices if price.dated and price.dated > NOVEMBER.date()]


@pytest.mark.parametrize("release", ["0.2.2", "0.2.3"])
def test_a_library_that_says_nothing_newer_is_not_imported(tmp_path, release):
    install(tmp_path, release)
    assert read_alone(tmp_path) == f"{SHIPPED}, genai-prices 0.2.3 (2026-11-22), left alone"


@pytest.mark.parametrize("release", ["0.2.10", "0.3"])
def test_a_newer_library_is_read_instead_of_what_was_written_down(tmp_path, release):
    install(tmp_path, release)
    assert read_alone(tmp_path) == f"{FROM_LITELLM + 1}, genai-prices {release}, imported"


def install(folder, release):
    """Put a library of one price into `folder`, as an installer would."""
    (folder / "genai_prices").mkdir()
    (folder / "genai_prices" / "__init__.py").touch()
    (folder / "genai_prices" / "data.py").write_text(A_LIBRARY, encoding="utf-8")
    (folder / f"genai_prices-{release}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: genai-prices\nVersion: {release}\n"
    (folder / f"genai_prices-{release}.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")


def read_alone(folder):
    """Return what a process finds that looks into `folder` first, and ends if it asks the network."""
    searched = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", READ_ALONE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": searched},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
