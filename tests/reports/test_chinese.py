"""Reports in Chinese, as the wiring makes them from the generated year: nothing in them is left in English."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from costctl.reports.comparison_charts import comparison_charts
from costctl.reports.monthly import SECTIONS, Charts, report_document
from costctl.reports.names import period_name
from costctl.reports.outline import Chart, Figures, Notes, Prose, Table
from costctl.reports.period_charts import period_charts
from costctl.reports.periods import read_period
from costctl.reports.wording import Wording
from costctl.wiring.comparison import Wish
from costctl.wiring.reports import load_report

ENGLISH, CHINESE = Wording.of("en"), Wording.of("zh")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 1, 25, 12, tzinfo=UTC)
CONFIGURATION = """
[[standing]]
name = "磁盘"
amount-per-month = 31
currency = "CNY"
while = "off"

[[rate]]
from = "USD"
to = "CNY"
rate = "7"
date = 2025-01-01
"""
COLUMNS_OF_NAMES = {"模型", "批处理任务", "供应商", "机型", "区域", "托管商", "对应模型"}
NAMES = {"API", "Berlin", "CUDA", "Europe", "FLOP", "GPU", "GiB", "KV", "NVIDIA", "SUM", "Tesla"}
NAMES |= {"auto", "litellm", "ms", "tiny", "token", "vLLM"}
CODE = re.compile(r"`[^`]*`|genai-prices|\b[A-Z]{3}\b|[!-~]*\d[!-~]*", re.ASCII)
"""Commands, currencies, and what has a digit in it: names of GPUs and models, versions, numbers with their units."""
WORD = re.compile(r"[A-Za-z]{2,}")


def texts_of(document):
    yield from (document.title, document.subtitle)
    for section in document.sections:
        yield section.title
        for block in section.blocks:
            yield from texts_in(block)


def texts_in(block):
    match block:
        case Figures(items):
            yield from (text for item in items for text in (item.label, item.note))
        case Prose(text):
            yield text
        case Notes(items):
            yield from items
        case Chart():
            yield from (block.title, block.alt)
        case Table():
            yield block.title
            for column, *cells in zip(block.columns, *block.rows, block.footer or block.columns, strict=True):
                yield column.heading
                yield from (cell for cell in cells if isinstance(cell, str) and column.heading not in COLUMNS_OF_NAMES)


def english_in(text):
    words = WORD.findall(CODE.sub(" ", text))
    return [word for word in words if word not in NAMES]


@pytest.fixture
def january(year_url, tmp_path, monkeypatch):
    """A running month of which there is everything to say."""
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path))
    monkeypatch.setenv("COSTCTL_LEDGER", year_url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "costctl.toml").write_text(CONFIGURATION)
    period = read_period(month="2026-01", now=NOW, zone=BERLIN)
    return load_report(period, now=NOW, wish=Wish(currency="CNY", baseline="A10G always-on"))


def document(loaded, words):
    charts = Charts(
        of_days=tuple(period_charts(loaded.report, words)),
        of_gpus=tuple(comparison_charts(loaded.studies.comparison, words)),
    )
    return report_document(loaded.report, loaded.studies, words, charts=charts)


def test_nothing_is_left_in_english(january):
    found = document(january, CHINESE)
    assert [section.key for section in found.sections] == list(SECTIONS)
    assert {text: words for text in texts_of(found) if (words := english_in(text))} == {}


def test_what_is_left_in_english_would_be_found(january):
    left = [text for text in texts_of(document(january, ENGLISH)) if english_in(text)]
    assert {"In short", "age unknown, converted from USD", "on-demand", "idle", "while none is up"} <= set(left)


@pytest.mark.parametrize(
    ("asked", "english", "chinese"),
    [
        ({"month": "2026-01"}, "2026-01", "2026-01"),
        ({"last": "30d"}, "last 30d", "最近 30d"),
        ({"since": "2026-01-05", "until": "2026-01-05"}, "2026-01-05", "2026-01-05"),
        ({"since": "2026-01-05", "until": "2026-01-18"}, "2026-01-05 to 2026-01-18", "2026-01-05 至 2026-01-18"),
    ],
)
def test_periods_are_named_in_both_languages(asked, english, chinese):
    period = read_period(now=NOW, zone=BERLIN, **asked)
    assert (period_name(period, ENGLISH), period_name(period, CHINESE)) == (english, chinese)


def test_names_and_sentences_stand_side_by_side_as_is_usual():
    assert (ENGLISH.listed(["L4", "T4"]), CHINESE.listed(["L4", "T4"])) == ("L4, T4", "L4、T4")
    assert (ENGLISH.together(["One.", "Two."]), CHINESE.together(["一。", "二。"])) == ("One. Two.", "一。二。")
