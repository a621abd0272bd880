import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.reports.outline import Amount, Column, Document, Length, Moment, Section, Table
from costctl.reports.wording import Wording
from costctl.reports.xlsx import sheet_names, write_xlsx
from tests.reports.sample_document import FOREIGN_NAMES, ZONE, sample_document

ENGLISH = Wording.of("en")


def workbook(document=None, words=ENGLISH):
    file = io.BytesIO()
    write_xlsx(document or sample_document(), words, file)
    return openpyxl.load_workbook(file)


def rows(sheet):
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def one_table(*cells, zone=ZONE, **more):
    table = Table(key="one", columns=(Column(heading="a"),), rows=tuple((cell,) for cell in cells), **more)
    return Document(title="T", subtitle="", sections=(Section(key="s", title="S", blocks=(table,)),), zone=zone)


def written(*cells, **more):
    """What a spreadsheet has in the column below its heading."""
    _title, _zone, _heading, *values = workbook(one_table(*cells, **more)).active["A"]
    return values


def test_a_sheet_for_each_section_the_headline_first():
    found = workbook()
    assert found.sheetnames == ["In short", "What a session was 1 2 phases", "按模型统计的费用"]
    assert rows(found.worksheets[0])[:5] == [
        ["January 2026 <i>", None, None],
        ["2026-01-01 to 2026-01-31, times in Asia/Shanghai", None, None],
        ["times in Asia/Shanghai", None, None],
        ["cost", 4, "at 1.98 CNY/h"],
        ["空闲 share", pytest.approx(2 / 3), ""],
    ]


def test_tables_can_be_reckoned_with():
    sheet = workbook().worksheets[1]
    assert rows(sheet)[2:8] == [
        ["phase", "minutes", "share", "cost", "in USD"],
        ["busy", pytest.approx(100 / 60), pytest.approx(1 / 3), 1.333333, 0.003333],
        ["空闲", pytest.approx(100 / 60), pytest.approx(1 / 3), 1.333333, 0.003333],
        ["off", pytest.approx(100 / 60), pytest.approx(1 / 3), 1.333334, "unknown"],
        ["all", 5, 1, 4, 0.006666],
        [None] * 5,
    ]
    assert [cell.number_format for cell in sheet[4]][1:] == ["#,##0.0", "0.0%", '#,##0.00 "CNY"', "#,##0.0000"]
    assert [cell.font.bold for cell in sheet["A"]][1:7] == [True, True, False, False, False, True]
    assert sheet.auto_filter.ref == "A3:E6"
    assert sheet.freeze_panes == "A4"
    assert ["The cost was highest on 31 January."] in [row[:1] for row in rows(sheet)]


def test_foreign_names_are_text_whatever_they_look_like():
    sheet = workbook().worksheets[2]
    cells = [cell for cell in sheet["A"] if cell.row > 2][: len(FOREIGN_NAMES)]
    assert [cell.data_type for cell in cells] == ["s"] * len(FOREIGN_NAMES)
    assert cells[2].value == "=1+1"
    assert not any(cell.hyperlink for cell in cells)
    assert not any(cell.data_type == "f" for sheet in workbook() for row in sheet.iter_rows() for cell in row)


def test_times_are_those_of_the_zone_even_where_the_clock_is_set_back():
    berlin = ZoneInfo("Europe/Berlin")
    hours = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    first, second = written(*map(Moment, hours), zone=berlin)
    assert first.value == second.value == datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - a spreadsheet knows no zones
    assert first.number_format == "yyyy-mm-dd hh:mm"
    day, short, second = (written(Moment(hours[0], form), zone=berlin)[0] for form in ("day", "short", "second"))
    assert day.number_format == "yyyy-mm-dd"
    assert short.number_format == "yyyy-mm-dd hh:mm"
    assert second.number_format == "yyyy-mm-dd hh:mm:ss"


def test_lengths_are_durations_or_numbers_of_their_unit():
    duration, hours = written(Length(timedelta(hours=30)), Length(timedelta(hours=30), "hours"))
    assert (duration.value, duration.number_format) == (timedelta(hours=30), "[h]:mm:ss")
    assert hours.value == 30


def test_a_price_shows_all_its_digits_and_a_unit_cannot_break_its_format():
    price, odd = written(
        Amount(micros=1_987_654, currency="USD", per="h"), Amount(micros=1, currency="USD", per='"[Red]', decimals=0)
    )
    assert price.number_format == '#,##0.00#### "USD/h"'
    assert odd.number_format == '#,##0 "USD/\'[Red]"'


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=50))
def test_every_micro_unit_of_sums_up_to_a_thousand_million_survives(micros):
    cells = written(*(Amount(micros=one, currency="CNY") for one in micros))
    assert [round(cell.value * 10**6) for cell in cells] == micros


def test_a_text_that_is_too_long_is_cut():
    (cell,) = written("x" * 40_000)
    assert len(cell.value) == 32_767


def test_names_of_sheets_are_valid_and_differ():
    titles = ["按模型", "a/b:c", "", "x" * 40, "X" * 40, "History", "'quoted'", "x" * 31]
    names = sheet_names(titles)
    assert names[:4] == ["按模型", "a b c", "-", "x" * 31]
    assert names[4:] == ["X" * 29 + " 2", "History 2", "quoted", "x" * 29 + " 3"]


def test_the_same_document_is_the_same_file():
    first, second = io.BytesIO(), io.BytesIO()
    write_xlsx(sample_document(), ENGLISH, first)
    write_xlsx(sample_document(), ENGLISH, second)
    assert first.getvalue() == second.getvalue()
    assert workbook().properties.created == datetime(2000, 1, 1)  # noqa: DTZ001 - openpyxl's


def test_without_xlsxwriter_it_says_what_to_install():
    code = """
import io, sys
sys.modules["xlsxwriter"] = None
from costctl.errors import MissingPieceError
from costctl.reports.xlsx import write_xlsx
try:
    write_xlsx(None, None, io.BytesIO())
except MissingPieceError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "a workbook needs XlsxWriter: pip install 'costctl[report]'\n"
