import os
import stat
from pathlib import Path

import pytest

from costctl.config.home import Home, find_home
from costctl.errors import CostctlError


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    base = tmp_path / "run"
    base.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base


def test_a_home_is_where_one_says_else_where_the_variable_says(tmp_path):
    environ = {"COSTCTL_HOME": str(tmp_path / "a")}
    assert find_home(environ, tmp_path / "b").folder == tmp_path / "b"
    assert find_home(environ).folder == tmp_path / "a"


def test_else_it_is_the_platforms_folder_for_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_home({}).folder == tmp_path / "costctl"
    assert find_home({"COSTCTL_HOME": ""}).folder == tmp_path / "costctl"


def test_a_home_is_absolute_so_that_it_stays_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_home({"COSTCTL_HOME": "here"}).folder == tmp_path / "here"
    assert find_home({"COSTCTL_HOME": "~"}).folder == Path.home()


def test_a_home_of_nobody_is_said():
    with pytest.raises(CostctlError, match="there is no home folder for '~nobody-of-this-name/x'"):
        find_home({"COSTCTL_HOME": "~nobody-of-this-name/x"})


def test_everything_of_a_home_lies_in_it(tmp_path):
    home = Home(tmp_path)
    for path in (home.lock, home.identity, home.engine_record, home.control_socket, home.engine_log, home.daemon_log):
        assert path.is_relative_to(tmp_path)
    assert home.ledger_url == f"sqlite:///{tmp_path}/ledger.db"


def test_the_runtime_folder_is_private_short_and_always_the_same(tmp_path, runtime):
    home = Home(tmp_path / "a-home-with-a-name-that-is-much-too-long-for-a-socket" / ("x" * 100))
    folder = home.runtime_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(folder.name) < 40
    assert home.runtime_folder() == folder != Home(tmp_path / "another").runtime_folder()


def test_a_runtime_folder_that_others_can_enter_is_refused(tmp_path, runtime):
    home = Home(tmp_path)
    home.runtime_folder().chmod(0o755)
    with pytest.raises(CostctlError, match="is not private to this user"):
        home.runtime_folder()


def test_a_runtime_folder_that_is_a_link_is_refused(tmp_path, runtime):
    home = Home(tmp_path)
    folder = home.runtime_folder()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CostctlError, match="is not private to this user"):
        home.runtime_folder()


def test_a_runtime_folder_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    with pytest.raises(CostctlError, match=r"cannot make the folder .* for sockets: No such file"):
        Home(tmp_path).runtime_folder()


def test_the_runtime_folder_has_the_users_number_in_its_name(tmp_path, runtime):
    assert f"-{os.getuid()}-" in Home(tmp_path).runtime_folder().name
