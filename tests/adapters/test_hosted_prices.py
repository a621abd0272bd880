"""The table that ships, and genai-prices: its types played by hand, and its real data where it is installed."""

import csv
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from costctl import resources
from costctl.adapters.hosted import hosted_prices, read_providers, shipped_prices

SHIPPED = 44
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
READ_ALONE = """
import sys
{before}
def refuse(event, args):
    if event.startswith("socket."):
        raise SystemExit("the network was asked: " + event)
sys.addaudithook(refuse)
from datetime import UTC, datetime
from costctl.adapters.hosted import hosted_prices
print(len(hosted_prices(datetime(2026, 11, 1, tzinfo=UTC)).prices))
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
    with (resources.folder("catalog") / "hosted_prices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(value == value.strip() and (value or name == "date") for row in rows for name, value in row.items())
    prices = shipped_prices()
    assert len(prices) == len(rows) == SHIPPED
    assert len({(price.provider, price.model, price.input_micros, price.output_micros) for price in prices}) == SHIPPED
    assert all(10_000 <= price.input_micros <= price.output_micros <= 3_000_000 for price in prices)


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


def test_the_librarys_own_data_is_read_as_of_the_day():
    pytest.importorskip("genai_prices")
    found = hosted_prices(NOVEMBER)
    assert len(found.prices) > 1000
    of_novita = [
        price
        for price in found.of_model("meta-llama/Llama-3.1-8B-Instruct")
        if price.provider == "novita" and price.source.startswith("genai-prices ")
    ]
    assert date(2026, 10, 18) in {price.dated for price in of_novita}
    assert not [price for price in found.prices if price.dated and price.dated > NOVEMBER.date()]


def test_nothing_is_fetched():
    assert read_alone() >= SHIPPED


def test_without_the_library_there_is_what_ships():
    assert read_alone("sys.modules['genai_prices'] = None") == SHIPPED


def read_alone(before=""):
    """Return how many prices a process finds that ends if it asks the network."""
    script = READ_ALONE.format(before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)
