"""Renew the lines of hosted_prices.csv that are genai-prices' data: `python catalog/make_hosted_prices.py 2026-11-22`.

Needs costctl and the library of the version to be recorded; the day is today, as of which its prices are taken. The
lines of other sources stay as they are.
"""

import csv
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from costctl.adapters.hosted import LIBRARY, read_library
from costctl.domain.hosted import HostedPrice
from costctl.domain.money import format_amount

TABLE = Path(__file__).with_name("hosted_prices.csv")
FAMILIES = "qwen|qwq|llama|codellama|[a-z]+tral|gemma|phi|deepseek|glm|gpt-oss|granite|olmo|nemotron|kimi|minimax"
OPEN_WEIGHTS = re.compile(rf"^(?!.*(?:gemini|:batch)).*(?:(?<![a-z])(?:{FAMILIES})|\db(?![a-z0-9]))")
"""In names of models that vLLM serves: a family with open weights, or a size. Offers for batches are other offers."""


def main(day: str, table: Path = TABLE) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        columns, *lines = csv.reader(file)
    others = [line for line in lines if not line[columns.index("source")].startswith(LIBRARY)]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *others, *snapshot(day)])


def snapshot(day: str) -> list[tuple[str, ...]]:
    """Return the lines of the library's prices of models with open weights, as of `day`; no line twice."""
    prices = read_library(datetime.fromisoformat(day).replace(tzinfo=UTC))
    lines = sorted(_line(price, day) for price in prices if OPEN_WEIGHTS.search(price.model.casefold()))
    return list({line[:-1]: line for line in lines}.values())


def _line(price: HostedPrice, day: str) -> tuple[str, ...]:
    return (
        price.model.rpartition("/")[2],
        price.provider,
        format_amount(price.input_micros),
        format_amount(price.output_micros),
        price.dated.isoformat() if price.dated else "",
        f"{price.source} ({day})",
        price.model,
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
