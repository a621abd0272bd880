"""Price lists as people save them: any column order and encoding, and every bad line named."""

from datetime import UTC, datetime

import pytest

from costctl.domain.decoding import decode
from costctl.domain.offers import Market, Origin
from costctl.domain.pricelists import read_day, read_own_format
from costctl.domain.skypilot import is_skypilot, read_skypilot
from costctl.errors import BadValueError

SINCE = datetime(2026, 2, 21, tzinfo=UTC)
TEXT = "gpu,currency,per_hour,note\nT4,CNY,1.8,für später\n"
SKYPILOT = """\
SpotPrice,InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,Region,AvailabilityZone
0.20,g4dn.xlarge,T4,1.0,4.0,16.0,,0.526,us-east-1,use1-az1
0.22,g4dn.xlarge,T4,1.0,4.0,16.0,,0.526,us-east-1,use1-az2
0.30,g4dn.xlarge,T4,1.0,4.0,16.0,,0.526,us-east-1,use1-az3
,p4d.24xlarge,A100,8.0,96.0,1152.0,"{'Gpus': [1, 2]}",21.957642,us-east-1,use1-az1
0.01,c5.large,,,2.0,4.0,,0.085,us-east-1,use1-az1
"""


def read(text, models, **options):
    return read_own_format(text, **({"models": models, "since": SINCE} | options))


def skypilot(text, models, provider="aws"):
    return read_skypilot(text, provider=provider, models=models, since=SINCE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_files_are_understood_by_themselves(encoding):
    assert decode(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le"])
def test_other_encodings_have_to_be_named(encoding):
    with pytest.raises(BadValueError, match="--encoding"):
        decode(TEXT.encode(encoding))
    assert decode(TEXT.encode(encoding), encoding) == TEXT


def test_what_is_no_text_is_refused():
    with pytest.raises(BadValueError, match="'klingon' is not an encoding"):
        decode(b"x", "klingon")
    with pytest.raises(BadValueError, match="not utf-8 text"):
        decode(b"PK\x03\x04\xff\xfe")
    with pytest.raises(BadValueError, match="NUL characters: say which it is, like --encoding"):
        decode("gpu".encode("utf-16-le"))
    with pytest.raises(BadValueError, match="not utf-16 text"):
        decode(b"\xff\xfeabc")
    with pytest.raises(BadValueError, match="not ascii text"):
        decode(TEXT.encode(), "ascii")
    with pytest.raises(BadValueError, match="is not an encoding"):
        decode(b"abc", "rot13")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_go_by_their_header(models, delimiter):
    text = (
        "per_hour,region,extra,currency,gpu,provider,gpu_count,market,date\n"
        "0.35,us-east-1,x,usd,nvidia l4,aws,2,Spot,2026-01-05\n"
        "\n"
        "1.8,,x,CNY,t4,,,,\n"
    )
    first, second = read(text.replace(",", delimiter), models).offers
    assert (first.gpu, first.gpu_count, first.provider, first.region) == ("L4", 2, "aws", "us-east-1")
    assert (first.market, first.amount, first.day) == (Market.SPOT, "0.35 USD/h", "2026-01-05")
    assert (second.gpu, second.gpu_count, second.provider, second.market) == ("T4", 1, None, Market.ON_DEMAND)
    assert (second.since, second.origin) == (SINCE, Origin.OWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("gpu,per_hour\nT4,1.8\n", "the column currency is missing; the file has gpu, per_hour"),
        ("gpu,currency,per_hour,gpu\n", "the column gpu is there twice"),
    ],
)
def test_what_is_no_price_list_is_refused(models, text, words):
    with pytest.raises(BadValueError, match=words):
        read(text, models)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("T4,,1.8,,", "without a currency"),
        ("T4,EURO,1.8,,", "'EURO' is not a currency in use"),
        (",CNY,1.8,,", "the GPU is missing"),
        ("A100,CNY,1.8,,", "did you mean A100-40GB or A100-80GB?"),
        ("Voodoo 2,CNY,1.8,,", "is not a GPU that costctl knows"),
        ("T4,CNY,,,", "the price is missing"),
        ("T4,CNY,0,,", "not more than zero"),
        ("T4,CNY,-1.8,,", "not more than zero"),
        ("T4,CNY,0.0000001,,", "not more than zero"),
        ("T4,CNY,NaN,,", "is not a number"),
        ("T4,CNY,inf,,", "is not a number"),
        ("T4,USD,500,,", "500 and more per GPU-hour"),
        ("T4,CNY,cheap,,", "'cheap' is not a number"),
        ('T4,CNY,"1,8",,', "'1,8' is not a number"),
        ("T4,CNY,1.8,yesterday,", "'yesterday' is not a date"),
        ("T4,CNY,1.8,2026-01-05T08:00,", "needs a time zone"),
        ("T4,CNY,1.8,2026-02-30,", "is not a date"),
        ("T4,CNY,1.8,,0.5", "not a whole number of GPUs"),
        ("T4,CNY,1.8,,0", "not a whole number of GPUs"),
        ("T4,CNY,1.8,", "4 cells where the header has 5"),
        ('T4,CNY,"1.8', "cannot be read beyond this"),
    ],
)
def test_a_bad_line_is_named_with_its_number(models, line, words):
    found = read(f"gpu,currency,per_hour,date,gpu_count\nL4,CNY,2.5,,\n{line}\n", models)
    assert len(found.offers) == 1
    (problem,) = found.problems
    assert str(problem).startswith("line 3: ") or "beyond" in words
    assert words in str(problem)


def test_a_market_that_is_none_is_named(models):
    found = read("gpu,currency,per_hour,market\nT4,CNY,1.8,grey\n", models)
    assert str(found.problems[0]) == "line 2: 'grey' is not a market: on-demand or spot"


def test_skypilots_words_are_not_looked_for_where_there_is_no_table():
    assert not is_skypilot("")


def test_unknown_gpus_are_taken_when_that_is_wanted(models):
    text = "gpu,currency,per_hour\nTesla V100-SXM2-16GB,USD,1\nTesla T4,USD,1\n"
    assert [offer.gpu for offer in read(text, models, any_gpu=True).offers] == ["Tesla V100-SXM2-16GB", "T4"]


def test_lines_that_are_not_own_prices_are_left_out(models):
    found = read("origin,gpu,currency,per_hour\ncatalog,T4,USD,1\nown,T4,USD,2\n", models)
    assert [offer.amount for offer in found.offers] == ["2.00 USD/h"]
    assert found.remarks == ("1 lines are not own prices (column origin) and are left out",)


def test_days_and_instants():
    assert read_day("2026-01-05") == datetime(2026, 1, 5, tzinfo=UTC)
    assert read_day("2026-01-05T08:00+08:00") == datetime(2026, 1, 5, tzinfo=UTC)
    assert read_day("2026-01-05T03:54:31Z") == datetime(2026, 1, 5, 3, 54, 31, tzinfo=UTC)


def test_a_list_of_skypilots_by_regions(models):
    assert is_skypilot(SKYPILOT)
    assert not is_skypilot(TEXT)
    found = skypilot(SKYPILOT, models)
    assert [(offer.gpu, offer.gpu_count, offer.market, offer.amount) for offer in found.offers] == [
        ("T4", 1, "on-demand", "0.526 USD/h"),
        ("T4", 1, "spot", "0.22 USD/h"),
        ("A100-40GB", 8, "on-demand", "21.957642 USD/h"),
    ]
    assert found.offers[1].note == "median of 3 zones, 0.20 to 0.30"
    assert {(offer.provider, offer.origin, offer.since) for offer in found.offers} == {("aws", Origin.LIST, SINCE)}
    assert found.problems == ()
    assert found.remarks == ("1 lines left out: no GPU",)


def with_row(row):
    """A list with one row: instance type, GPU, count, price, spot price, region."""
    return f"InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region\n{row}\n"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("vm,T4,1,0,,r", "not more than zero"),
        ("vm,T4,1,0.5,0.00,r", "not more than zero"),
        ("vm,T4,1,nan,,r", "is not a number"),
        ("vm,H100,1,700.0,,r", "500 and more per GPU-hour"),
        ("vm,T4,x,1,,r", "not a whole number of GPUs"),
        (",T4,1,0.35,,r", "priced without its host"),
    ],
)
def test_bad_lines_of_skypilots_are_named(models, row, words):
    found = skypilot(with_row(row), models)
    assert found.offers == ()
    assert words in str(found.problems[0])
    assert str(found.problems[0]).startswith("line 2: ")


@pytest.mark.parametrize(
    ("row", "words", "count"),
    [
        ("vm,T4,1,0.5,0.5,r", "spot as dear as on-demand", 1),
        ("vm,V100,1,0.5,,r", "no facts of the GPU V100", 0),
        ("vm,A10,0.5,0.5,,r", "a share of a GPU", 0),
        ("vm,A100,1,0.5,,r", "40 or 80 GB", 0),
    ],
)
def test_what_is_left_out_of_skypilots_is_said(models, row, words, count):
    found = skypilot(with_row(row), models, provider="vast")
    assert len(found.offers) == count
    assert words in found.remarks[0]
    assert found.problems == ()


def test_a_list_of_skypilots_needs_its_columns(models):
    with pytest.raises(BadValueError, match="the column Price is missing"):
        skypilot("InstanceType,AcceleratorName,AcceleratorCount,Region\n", models)
