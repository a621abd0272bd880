"""Invoices as providers and people write them, and what is said of those that cannot be read."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from costctl.adapters.invoices.formats import Asked, read_invoice
from costctl.adapters.invoices.tables import decode
from costctl.errors import BadValueError

PLAIN = "start,end,amount,currency\n2026-01-30T14:00:00Z,2026-01-30T15:00:00Z,1.80,CNY\n"
CUR = (
    "identity/LineItemId,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/UsageType,lineItem/ResourceId,"
    "lineItem/UnblendedCost,lineItem/CurrencyCode\n"
    "a,2026-01-31T20:00:00Z,2026-01-31T21:00:00Z,EUC1-BoxUsage:g5.xlarge,i-1,1.0060000000,USD\n"
    "b,2026-01-31T21:00:00Z,2026-01-31T22:00:00Z,SpotUsage:g5.xlarge,i-2,0.4251234567,USD\n"
    "c,2026-01-31T21:00:00Z,2026-01-31T22:00:00Z,EBS:VolumeUsage.gp3,vol-1,6.0E-10,USD\n"
)
EXPLORER = (
    '"Service","EC2-Instances($)","EC2-Other($)","Total costs($)"\n'
    '"Service total","3","0.5","3.5"\n"2026-01-30","1","0.2","1.2"\n"2026-01-31","2","0.3","2.3"\n'
)
RUNPOD = "podId,time,amount,timeBilledMs\np1,2026-01-31T20:00:00Z,0.5709989242022857,3404045\n"


@pytest.fixture
def read(tmp_path):
    def read_content(content, *, zone=UTC, bucket=None):
        path = tmp_path / "invoice.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_invoice(path, Asked(zone=zone, bucket=bucket))

    return read_content


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_plain_file(read):
    invoice = read(PLAIN)
    (line,) = invoice.lines
    assert invoice.title == "a plain file"
    assert (line.number, line.started_at, line.ended_at) == (2, at("2026-01-30T14:00"), at("2026-01-30T15:00"))
    assert (line.micros, line.currency, line.is_machine) == (1_800_000, "CNY", True)


def test_times_without_a_zone_are_in_the_zone_that_is_asked_for(read):
    (line,) = read(PLAIN.replace("Z", ""), zone=ZoneInfo("Asia/Shanghai")).lines
    assert line.started_at == at("2026-01-30T06:00")


def test_other_columns_orders_and_separators(read):
    text = (
        "Note;CURRENCY; Amount ;End;Start;Start\n=x;cny;1.80;2026-01-30T15:00:00Z;2026-01-30T14:00:00Z;never\n;;;;;\n"
    )
    assert read(text).lines == read(PLAIN).lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(read, encoding):
    text = PLAIN.replace("currency\n", "currency,Gerät\n").replace("CNY\n", "CNY,Rechner für Müller\n")
    assert read(text.encode(encoding)).lines == read(PLAIN).lines


def test_bytes_that_are_text_in_no_encoding_do_not_end_in_a_crash(read):
    assert decode(b"\xff\xfe\x00") is not None
    with pytest.raises(BadValueError):
        read(bytes(range(256)))


def test_aws_cost_and_usage_report(read):
    first, second, disk = read(CUR).lines
    assert (first.resource, first.micros, first.is_machine) == ("i-1", 1_006_000, True)
    assert (second.micros, second.is_machine) == (425_123, True)
    assert (disk.micros, disk.is_machine, disk.what) == (0, False, "EBS:VolumeUsage.gp3")


def test_its_newer_names_of_columns(read):
    names = {"UsageStartDate": "usage_start_date", "UsageEndDate": "usage_end_date", "UsageType": "usage_type"}
    names |= {"ResourceId": "resource_id", "UnblendedCost": "unblended_cost", "CurrencyCode": "currency_code"}
    text = CUR
    for old, new in names.items():
        text = text.replace(f"lineItem/{old}", f"line_item_{new}")
    assert read(text).lines == read(CUR).lines


def test_aws_cost_explorer(read):
    lines = read(EXPLORER).lines
    assert [(line.number, line.micros, line.is_machine) for line in lines] == [
        (3, 1_000_000, True),
        (3, 200_000, False),
        (4, 2_000_000, True),
        (4, 300_000, False),
    ]
    assert (lines[0].started_at, lines[0].ended_at) == (at("2026-01-30"), at("2026-01-31"))


def test_cost_explorer_without_a_column_for_machines_counts_all(read):
    (line, _) = read(EXPLORER.replace("EC2-Instances", "Tokyo").replace("EC2-Other", "Paris")).lines
    assert (line.micros, line.is_machine) == (1_200_000, True)


def test_cost_explorer_by_month(read):
    text = EXPLORER.replace("2026-01-30", "2025-12-01").replace("2026-01-31", "2026-01-01")
    lines = [line for line in read(text).lines if line.is_machine]
    assert [line.ended_at for line in lines] == [at("2026-01-01"), at("2026-02-01")]


def test_one_date_alone_does_not_say_how_long_it_lasts(read):
    text = "".join(EXPLORER.splitlines(keepends=True)[:3])
    with pytest.raises(BadValueError, match="say --bucket day or month"):
        read(text)
    assert read(text, bucket="day").lines[0].ended_at == at("2026-01-31")


def test_runpod(read):
    (line,) = read(RUNPOD).lines
    assert (line.resource, line.micros, line.currency) == ("p1", 570_999, "USD")
    assert (line.started_at, line.ended_at) == (at("2026-01-31T20:00"), at("2026-01-31T21:00"))


def test_a_credit_is_less_than_nothing(read):
    assert read(PLAIN.replace("1.80", "-0.25")).lines[0].micros == -250_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty: there is nothing to compare with"),
        ("\n \n", "is empty"),
        ("start,end,amount,currency\n", "has a header but no charges"),
        ("start,end,amount\n", "looks like a plain file, but lacks the column currency"),
        (
            "lineItem/UsageStartDate,lineItem/UnblendedCost,lineItem/CurrencyCode\n",
            "looks like an AWS Cost and Usage Report, but lacks the column lineItem/UsageEndDate",
        ),
        ("a,b\n1,2\n", "no known invoice (its columns are a, b): give an AWS CUR"),
        (PLAIN.replace("1.80", "1,80"), "line 2: '80' is not a currency"),
        (PLAIN.replace("1.80", '"1,80"'), "line 2: '1,80' is not an amount: write it like 12.34"),
        (PLAIN.replace("1.80", "NaN"), "line 2: 'NaN' is not an amount"),
        (PLAIN.replace("1.80", "1e99"), "line 2: '1e99' is not an amount between"),
        (PLAIN.replace("1.80", ""), "line 2: '' is not an amount"),
        (PLAIN.replace("CNY", ""), "line 2: '' is not a currency"),
        (PLAIN.replace("2026-01-30T14", "30.01.2026 14"), "line 2: '30.01.2026 14:00:00Z' is not a time"),
        (PLAIN.replace("T15", "T13"), "line 2: it ends (2026-01-30 13:00) before it starts (2026-01-30 14:00)"),
        (PLAIN + "x\n" * 7, "line 7: 'x' is not a time: write it like 2026-01-31T08:00:00Z; and 2 more"),
        (PLAIN + '"open', "line 3: not CSV: unexpected end of data"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(read, content, words):
    with pytest.raises(BadValueError) as caught:
        read(content)
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadValueError, match=r"cannot read the invoice .*none.csv: No such file"):
        read_invoice(tmp_path / "none.csv", Asked(zone=UTC))
    with pytest.raises(BadValueError, match=r"cannot read the invoice .*: Is a directory"):
        read_invoice(tmp_path, Asked(zone=UTC))
