from datetime import datetime
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest

from costctl.config.zones import named_zone, system_zone
from costctl.errors import BadValueError

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
