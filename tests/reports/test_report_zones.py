from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest

from costctl.errors import BadValueError
from costctl.reports.zones import named_zone, parse_since, system_zone

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "/etc/passwd", "../secrets", "Europe", "a\0b"])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(BadValueError, match="is not a time zone that this system knows"):
        named_zone(name)


def test_the_environment_names_the_zone_first():
    assert system_zone({"TZ": "Asia/Shanghai"}) == ZoneInfo("Asia/Shanghai")
    assert system_zone({"TZ": ":Asia/Shanghai"}) == ZoneInfo("Asia/Shanghai")
    with pytest.raises(BadValueError, match="'Nowhere'"):
        system_zone({"TZ": "Nowhere"})


def test_the_machine_s_local_time_comes_next(tmp_path):
    rules = next(path for folder in TZPATH if (path := Path(folder, "Europe/Berlin")).exists())
    link = tmp_path / "localtime"
    link.symlink_to(rules)
    zone = system_zone({}, localtime=link)
    assert str(zone) == "Europe/Berlin"
    assert datetime(2026, 7, 1, tzinfo=zone).utcoffset() == datetime(2026, 7, 1, tzinfo=BERLIN).utcoffset()
    copy = tmp_path / "copy"
    copy.write_bytes(rules.read_bytes())
    assert str(system_zone({}, localtime=copy)) == "local time"


def test_without_either_it_is_utc(tmp_path):
    assert system_zone({}, localtime=tmp_path / "none") == ZoneInfo("UTC")
    (tmp_path / "junk").write_text("not a zone")
    assert system_zone({}, localtime=tmp_path / "junk") == ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-15", "2026-01-14T23:00Z"),
        ("2026-07-15 08:30", "2026-07-15T06:30Z"),
        ("2026-01-15T08:30+00:00", "2026-01-15T08:30Z"),
        ("7d", "2026-01-24T12:00Z"),
        ("90m", "2026-01-31T10:30Z"),
    ],
)
def test_points_in_time_as_people_name_them(text, instant):
    assert parse_since(text, now=NOW, zone=BERLIN) == datetime.fromisoformat(instant)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "7", "-7d", "0s"])
def test_other_points_in_time_are_refused(text):
    with pytest.raises(BadValueError, match="is not a point in time"):
        parse_since(text, now=NOW, zone=BERLIN)
