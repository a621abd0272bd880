"""The sections that look beyond the bill: hosted APIs, shorter idle windows, the rest of the month."""

import json
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from costctl.domain.forecast import MonthToDate
from costctl.domain.hosted import HostedPrice, HostedPrices, ModelUse, break_even
from costctl.domain.instants import microseconds_of
from costctl.domain.money import Price
from costctl.domain.windows import GapEnd, IdleGap, window_studies
from costctl.reports.cells import formatted
from costctl.reports.forecast import forecast_object, forecast_section
from costctl.reports.hosted import hosted_object, hosted_section
from costctl.reports.outline import Notes, Prose
from costctl.reports.tails import tails_object, tails_section
from costctl.reports.wording import Wording

ENGLISH = Wording.of("en")
ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BEGIN = datetime(2026, 1, 5, 1, tzinfo=UTC)


def tables(section):
    return {table.key: [list(row) for row in formatted(table, ENGLISH, ZONE).rows] for table in section.tables}


def sentences(section):
    notes = [item for block in section.blocks if isinstance(block, Notes) for item in block.items]
    return " ".join([*(block.text for block in section.blocks if isinstance(block, Prose)), *notes])


def hosted(model="meta-llama/Llama-3.1-8B-Instruct", *, currency="USD", cost_micros=520_000, generated=513 * 3600):
    known = [
        ("together", "Llama-3.1-8B-Instruct-Turbo", 180_000, None),
        ("deepinfra", "Llama-3.1-8B-Instruct", 30_000, date(2026, 1, 2)),
    ]
    prices = [
        HostedPrice(model=name, provider=who, input_micros=asked, output_micros=asked, source="a list", dated=since)
        for who, name, asked, since in known
    ]
    use = ModelUse(
        model=model,
        prompt_tokens=558 * 3600,
        generated_tokens=generated,
        cost_micros=cost_micros,
        currency=currency,
        billed=2 * HOUR,
        busy=HOUR,
    )
    return break_even(use, HostedPrices(tuple(prices)), lambda micros, of, to: None)


def test_each_model_stands_beside_its_cheapest_hosted_offers():
    section = hosted_section([hosted()], ENGLISH)
    assert tables(section) == {
        "hosted-use": [["meta-llama/Llama-3.1-8B-Instruct", "2,008,800", "1,846,800", "1,071", "50.0%", "0.5200 USD"]],
        "hosted-1": [
            [
                *("deepinfra", "Llama-3.1-8B-Instruct", "2026-01-02"),
                *("0.03", "0.03", "0.1157 USD", "-0.4043 USD", "never (225%)"),
            ],
            [
                *("together", "Llama-3.1-8B-Instruct-Turbo", "unknown"),
                *("0.18", "0.18", "0.6940 USD", "0.1740 USD", "37.5%"),
            ],
        ],
    }
    assert section.tables[1].title == "meta-llama/Llama-3.1-8B-Instruct"
    assert "Never: not even if it were always busy" in sentences(section)
    assert "Hosted prices: a list" in sentences(section)


def test_a_model_of_similar_size_is_called_another_model():
    section = hosted_section([hosted("mistralai/Mistral-7B-v0.3")], ENGLISH)
    assert section.tables[1].title == "mistralai/Mistral-7B-v0.3: beside another model of similar size"
    assert "mistralai/Mistral-7B-v0.3: the prices beside it are of another model of similar size" in sentences(section)


def test_without_any_offer_or_rate_it_is_said():
    none = hosted_section([hosted("BAAI/bge-m3", generated=0)], ENGLISH)
    assert list(tables(none)) == ["hosted-use"]
    assert sentences(none) == "No hosted offer is known of BAAI/bge-m3, or of a model of similar size."
    foreign = hosted_section([hosted(currency="CNY")], ENGLISH)
    assert tables(foreign)["hosted-1"][0][-3:] == ["0.1157 USD", "unknown", "unknown"]
    assert "without a rate to CNY the break-even" in sentences(foreign)
    assert "breaks even at" not in sentences(foreign)


def test_what_was_not_used_has_no_section():
    assert hosted_section([], ENGLISH) is None
    assert tails_section([], ENGLISH) is None
    assert forecast_section([], ENGLISH) is None


def test_hosted_offers_for_programs():
    (found,) = json.loads(json.dumps(hosted_object([hosted()])))
    assert (found["cost"], found["utilisation"], found["tokens_per_busy_second"]) == ("0.52", 0.5, 1071.0)
    assert found["same_model"] is True
    assert found["offers"][1] == {
        "provider": "together",
        "model": "Llama-3.1-8B-Instruct-Turbo",
        "input_usd_per_million_tokens": "0.18",
        "output_usd_per_million_tokens": "0.18",
        "dated": None,
        "source": "a list",
        "cost_usd": "0.694008",
        "cost": "0.694008",
        "saved_by_gpu": "0.174008",
        "break_even_utilisation": 0.374635,
        "never_at_this_throughput": False,
    }
    assert found["offers"][0]["never_at_this_throughput"] is True


def studies(*gaps, start=2 * MINUTE, currency="CNY"):
    price = Price(micros_per_hour=1_800_000, currency=currency, source="a test", dated=BEGIN)
    return window_studies(
        [
            IdleGap(number, microseconds_of(BEGIN), minutes * 60_000_000, price, end)
            for number, (minutes, end) in enumerate(gaps, 1)
        ],
        start=start,
    )


SEEN = [(5, GapEnd.WORK), (20, GapEnd.WORK), (30, GapEnd.WINDOW), (4, GapEnd.STOPPED)]


def test_tails_and_windows_are_shown_with_the_best():
    section = tails_section(studies(*SEEN), ENGLISH)
    found = tables(section)
    assert found["idle-tails"] == [
        ["2026-01-05 09:00", "3", "30.0", "1.80 CNY/h", "0.9000 CNY", "the idle window"],
        ["2026-01-05 09:00", "4", "4.0", "1.80 CNY/h", "0.1200 CNY", "a stop"],
    ]
    assert [row[0] for row in found["idle-windows"]] == ["1m", "2m", "3m", "5m", "7m", "10m", "15m", "20m", "30m"]
    assert found["idle-windows"][5][2:5:2] == ["1", "2m"]
    best = "A window of 1m would have saved 86.4% of the idle cost in CNY, for 2 more cold starts and 4m of waiting."
    assert best in sentences(section)
    assert "Longer windows than those that ended idle times cannot be replayed" in sentences(section)


def test_where_no_window_or_no_start_is_known_it_is_said():
    assert "No other window that can be replayed would have cost less (CNY)." in sentences(
        tails_section(studies((0.5, GapEnd.WORK)), ENGLISH)
    )
    unmeasured = tails_section(studies(*SEEN, start=None), ENGLISH)
    assert list(tables(unmeasured)) == ["idle-tails"]
    assert sentences(unmeasured).startswith("No cold start was measured")


def test_tails_for_programs():
    (found,) = json.loads(json.dumps(tails_object(studies(*SEEN), ZONE)))
    assert (found["idle_cost"], found["cold_start_seconds"], found["best_window_seconds"]) == ("1.77", 120.0, 60.0)
    assert found["tails"][0] == {
        "session": 3,
        "started_at": "2026-01-05T09:00:00+08:00",
        "seconds": 1800.0,
        "price_per_hour": "1.80",
        "cost": "0.90",
        "ended_by": "window",
    }
    assert [window["known"] for window in found["windows"]][-3:] == [True, False, False]


def month(days, **facts):
    usual = {"today_micros": 1_000_000, "left_of_today": Fraction(1, 2)} | facts
    return MonthToDate(
        currency="CNY",
        complete_days_micros=tuple(days),
        today=date(2026, 1, 27),
        last_day=date(2026, 1, 31),
        **usual,
    )


def test_the_forecast_says_its_method_and_range():
    section = forecast_section([month([8_000_000, 10_000_000, 12_000_000])], ENGLISH)
    assert section.title == "Forecast to 2026-01-31"
    assert tables(section)["forecast"] == [["CNY", "3", "31.00 CNY", "76.00 CNY", "63.35 CNY", "88.65 CNY"]]
    assert [column.heading for column in section.tables[0].columns][-2:] == ["80% range from", "to"]
    assert "for each day left the mean of the complete days." in sentences(section)
    weekdays = forecast_section([month([10_000_000] * 14, standing_left_micros=1)], ENGLISH)
    assert "the mean of the complete days of its weekday." in sentences(weekdays)
    assert "Standing charges to come are in it" in sentences(weekdays)


def test_too_few_days_are_said_to_be_too_few():
    section = forecast_section([month([8_000_000])], ENGLISH)
    assert tables(section)["forecast"] == [["CNY", "1", "9.00 CNY", "unknown", "unknown", "unknown"]]
    assert sentences(section) == "A forecast needs at least 3 complete days."


def test_the_forecast_for_programs():
    known, unknown = json.loads(
        json.dumps(forecast_object([month([8_000_000, 10_000_000, 12_000_000]), month([8_000_000])]))
    )
    assert (known["expected"], known["days_left"], known["confidence"]) == ("76.00", 4.5, 0.8)
    assert (known["low"], known["high"]) == ("63.348327", "88.651673")
    assert known["method"] == "mean of the complete days"
    assert (unknown["expected"], unknown["method"], unknown["spent"]) == (None, None, "9.00")
