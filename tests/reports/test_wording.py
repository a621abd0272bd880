import string
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from costctl import resources
from costctl.errors import BadValueError
from costctl.reports.wording import Wording, language_of

ENGLISH, CHINESE = Wording.of("en"), Wording.of("zh")
CATALOG = resources.folder("locales") / "zh" / "LC_MESSAGES" / "costctl"
KEYWORDS = {"say": None, "count": (1, 2)}  # as in the Makefile's target `messages`


@pytest.mark.parametrize(
    ("micros", "currency", "decimals", "english", "chinese"),
    [
        (1_980_000, "CNY", None, "1.98 CNY", "¥1.98"),
        (1_234_500_000, "USD", 2, "1,234.50 USD", "US$1,234.50"),
        (1_500_000_000, "JPY", None, "1,500 JPY", "JP¥1,500"),
        (1_500_500_000, "JPY", None, "1,500.5 JPY", "JP¥1,500.5"),
        (1, "USD", None, "0.000001 USD", "US$0.000001"),
        (12_345, "USD", 4, "0.0123 USD", "US$0.0123"),
        (-2_500_000, "CNY", 2, "-2.50 CNY", "-¥2.50"),
        (-4_999, "CNY", 2, "0.00 CNY", "¥0.00"),
        (999_999_999_999_999_999, "USD", 2, "1,000,000,000,000.00 USD", "US$1,000,000,000,000.00"),
        (1_234_567, "CNY", 0, "1 CNY", "¥1"),
    ],
)
def test_money_is_written_as_its_readers_write_it(micros, currency, decimals, english, chinese):
    assert ENGLISH.amount(micros, currency, decimals) == english
    assert CHINESE.amount(micros, currency, decimals) == chinese
    assert ENGLISH.plain_amount(micros, currency, decimals) == english.removesuffix(f" {currency}")


@given(st.integers(-(10**17), 10**17), st.sampled_from(["USD", "CNY", "JPY", "KWD"]))
def test_without_decimals_no_micro_unit_is_lost(micros, currency):
    text = ENGLISH.amount(micros, currency).removesuffix(f" {currency}").replace(",", "")
    assert Decimal(text) * 10**6 == micros


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1_234_567, 0, "1,234,567"),
        (Fraction(1, 8), 2, "0.12"),
        (Fraction(1, 2) + Fraction(1, 10**40), 0, "1"),
        (Decimal("2.675"), 2, "2.68"),
        (Fraction(-1, 1000), 1, "0.0"),
    ],
)
def test_numbers_are_rounded_once_and_half_to_even(value, decimals, text):
    assert ENGLISH.number(value, decimals) == text


def test_shares_lengths_and_moments():
    assert ENGLISH.share(Fraction(2, 3)) == "66.7%"
    assert ENGLISH.share(Fraction(25, 2), 0) == "1,250%"
    assert CHINESE.share(Fraction(-1, 100_000)) == "0.0%"
    assert ENGLISH.length(timedelta(minutes=90)) == "1h30m"
    at = datetime(2026, 1, 31, 16, 30, 15, tzinfo=UTC)
    shanghai = ZoneInfo("Asia/Shanghai")
    assert CHINESE.moment(at, shanghai) == "2026-02-01 00:30"
    assert ENGLISH.moment(at, shanghai, "day") == "2026-02-01"
    assert ENGLISH.moment(at, shanghai, "second") == "2026-02-01 00:30:15"


def test_values_are_put_where_the_message_names_them_and_not_read_again():
    assert ENGLISH.say("times in {zone}", zone="{zone}") == "times in {zone}"
    assert CHINESE.say("times in {zone}", zone="Asia/Shanghai") == "时间按 Asia/Shanghai 时区"
    assert ENGLISH.count("{number} session on {day}", "{number} sessions on {day}", 1, day="Monday") == (
        "1 session on Monday"
    )
    assert ENGLISH.count("{number} session", "{number} sessions", 1_234) == "1,234 sessions"


def test_an_unknown_language_is_refused_with_those_there_are():
    with pytest.raises(BadValueError, match="not written in 'fr': choose en or zh"):
        Wording.of("fr")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN", "LANG": "en_US"}, "zh"),
        ({"LANG": "za_CN"}, "en"),
    ],
)
def test_the_language_is_the_environments(environ, language):
    assert language_of(environ) == language


def said():
    """Everything that the code of reports says: messages, or pairs of one and many."""
    folder = Path(resources.__file__).parent / "reports"
    found = extract_from_dir(folder, method_map=[("**.py", "python")], keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found}


def translated():
    with CATALOG.with_suffix(".po").open("rb") as file:
        return {message.id: message for message in read_po(file, locale="zh") if message.id}


def forms(text):
    return [text] if isinstance(text, str) else list(text)


def places(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_everything_that_is_said_is_translated():
    catalog = translated()
    ready = {key for key, message in catalog.items() if all(forms(message.string)) and not message.fuzzy}
    assert said() - ready == set(), "run `make messages` and translate what is empty or fuzzy in costctl.po"
    assert set(catalog) - said() == set(), "nobody says this any more: run `make messages`"


def test_translations_name_the_same_values():
    for key, message in translated().items():
        for text in forms(message.string):
            assert places(text) == places(forms(key)[-1]), f"{text!r} translates {key!r}"


def hashable(key):
    return tuple(key) if isinstance(key, list) else key


def test_the_compiled_catalog_is_the_one_that_is_read():
    with CATALOG.with_suffix(".mo").open("rb") as file:
        compiled = {hashable(message.id): message.string for message in read_mo(file) if message.id}
    expected = {key: message.string for key, message in translated().items()}
    assert {key: forms(text) for key, text in compiled.items()} == {
        key: forms(text) for key, text in expected.items()
    }, "run `make messages`"
