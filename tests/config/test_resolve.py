from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.config.resolve import resolve
from costctl.config.settings import SETTINGS
from costctl.errors import BadValueError

NOW = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Nobody's configuration but the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    return tmp_path


def found(*, config=None, environ=None, **flags):
    flags = {name.replace("_", "-"): value for name, value in flags.items()}
    return resolve(flags=flags, environ=environ or {}, now=NOW, config=config)


def problem(**given_values):
    with pytest.raises(BadValueError) as caught:
        found(**given_values)
    return str(caught.value)


def in_file(text, folder=None):
    path = (folder or Path()) / "costctl.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- precedence ------------------------------------------------------------------------------------------------------


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default():
    variable = {"COSTCTL_PORT": "9002"}
    assert found().settings.port == 8000
    in_file("port = 9001")
    assert found().settings.port == 9001
    assert found(environ=variable).settings.port == 9002
    assert found(environ=variable, port=9003).settings.port == 9003


def test_every_value_says_where_it_came_from():
    in_file('model = "m"\n\ngrace = "5s"')
    origins = found(environ={"COSTCTL_PORT": "9002"}, eager=True).origins
    assert {origins[name].place for name in ("eager", "port", "grace", "engine")} == {
        *("--eager", "COSTCTL_PORT", "costctl.toml line 3, grace", "default"),
    }


def test_a_named_file_beats_one_here_beats_the_users_own(empty_folder):
    in_file("port = 9001", empty_folder / "user" / "costctl")
    assert found().settings.port == 9001
    in_file("port = 9002")
    assert found().settings.port == 9002
    named = in_file("port = 9003", empty_folder / "named")
    assert found(environ={"COSTCTL_CONFIG": str(named)}).settings.port == 9003
    other = in_file("port = 9004", empty_folder / "other")
    assert found(config=str(other), environ={"COSTCTL_CONFIG": str(named)}).settings.port == 9004


def test_a_switch_can_be_turned_off_again_by_a_flag():
    assert found(environ={"COSTCTL_EAGER": "yes"}).settings.eager is True
    assert found(environ={"COSTCTL_EAGER": "yes"}, eager=False).settings.eager is False


def test_a_flag_that_was_not_given_is_no_value():
    assert found(port=None, engine_args=()).settings.port == 8000


# --- what values mean ------------------------------------------------------------------------------------------------


def test_the_defaults_are_readable_and_typed():
    settings = found().settings
    assert (settings.idle_shutdown, settings.on_idle, settings.host, settings.max_body) == (
        *(1800.0, "exit"),
        *("127.0.0.1", 64 * 2**20),
    )
    assert (settings.price, settings.api_keys, settings.ledger) == (None, (), None)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("idle-shutdown", "off", None),
        ("idle-shutdown", "1h30m", 5400.0),
        ("engine-args", "--max-model-len 4096 --name 'a b'", ("--max-model-len", "4096", "--name", "a b")),
        ("max-body", "512 KiB", 512 * 1024),
        ("max-body", "1gib", 2**30),
        ("eager", "ON", True),
        ("eager", "0", False),
        ("gpu", "sim:T4", "sim:T4"),
        ("on-idle", "command: stop-box --now", "command: stop-box --now"),
        ("api-keys", "one, two three", ("one", "two", "three")),
        ("vllm", "  /opt/vllm  ", "/opt/vllm"),
    ],
)
def test_values_are_read_as_people_write_them(name, raw, value):
    variable = f"COSTCTL_{name.upper().replace('-', '_')}"
    assert getattr(found(environ={variable: raw}).settings, name.replace("-", "_")) == value


def test_a_file_may_use_its_own_types():
    in_file('port = 9001\neager = true\nidle-shutdown = false\nengine-args = ["--a", "b c"]\nmax-body = 1024')
    settings = found().settings
    assert (settings.port, settings.eager, settings.idle_shutdown) == (9001, True, None)
    assert (settings.engine_args, settings.max_body) == (("--a", "b c"), 1024)


def test_a_price_remembers_who_said_it_and_when():
    in_file('\nprice = "1.8 CNY/h"')
    price = found().settings.price
    assert (str(price), price.source, price.dated) == ("1.80 CNY/h", "costctl.toml line 2, price", NOW)


# --- what cannot be understood ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("port", "http", "'http' is not a whole number from 1 to 65535"),
        ("port", "0", "'0' is not a whole number from 1 to 65535"),
        ("port", "9" * 5000, "is not a whole number from 1 to 65535"),
        ("max-waiting", "-1", "'-1' is not a whole number from 1 to 1000000"),
        ("idle-shutdown", "soon", "'soon' is not a duration: write it like 90s, 30m, 2h or 1h30m (or 'off')"),
        ("grace", "0s", "'0s' is out of range: a duration is more than 0 and at most 366d"),
        ("grace", "off", "'off' is not a duration: write it like 90s, 30m, 2h or 1h30m"),
        ("max-body", "lots", "'lots' is not a size: write it like 512KiB, 32MiB or 1GiB"),
        ("max-body", "0", "'0' is not a size: write it like 512KiB, 32MiB or 1GiB"),
        ("max-body", "9" * 5000, "is not a size: write it like 512KiB, 32MiB or 1GiB"),
        ("eager", "maybe", "'maybe' is neither true nor false"),
        ("engine", "tgi", "'tgi' is none of auto, vllm, command, sim"),
        ("gpu", "amd", "'amd' is none of auto, nvml, sim, none (or sim:NAME)"),
        ("on-idle", "sleep", "'sleep' is none of exit, unload, poweroff, or 'command: PROGRAM ARGS'"),
        ("on-idle", "command:  ", "is none of exit, unload, poweroff, or 'command: PROGRAM ARGS'"),
        ("on-idle", "command: say 'hi", "cannot be split into words: No closing quotation"),
        ("on-idle", "command: ''", "is none of exit, unload, poweroff, or 'command: PROGRAM ARGS'"),
        ("engine-args", "--name 'a", "cannot be split into words: No closing quotation"),
        ("health-path", "health", "'health' is not a path: begin it with '/'"),
        ("model", " ", "' ' is not a text"),
        ("api-key-file", "~nobody-of-this-name/keys", "there is no home folder for '~nobody-of-this-name/keys'"),
        ("price", "cheap", "cheap"),
        ("time-zone", "Mars/Olympus", "'Mars/Olympus' is not a time zone that this system knows"),
        ("billing-starts", "never", "'never' is none of auto, boot, serve"),
    ],
)
def test_a_bad_value_is_said_with_its_place(name, raw, words):
    variable = f"COSTCTL_{name.upper().replace('-', '_')}"
    told = problem(environ={variable: raw})
    assert told.startswith(f"{variable}: ")
    assert words in told
    assert problem(**{name.replace("-", "_"): raw}).startswith(f"--{name}: ")


def test_a_bad_value_in_the_file_is_said_with_its_line():
    in_file('# settings\nmodel = "m"\nport = "http"')
    assert problem() == "costctl.toml line 3, port: 'http' is not a whole number from 1 to 65535"


@pytest.mark.parametrize("value", ["true", "1.5", "[]", "{a = 1}", "2026-01-15"])
def test_a_value_of_another_type_is_said_too(value):
    in_file(f"port = {value}")
    assert "is not a whole number" in problem()


@pytest.mark.parametrize("value", ["5", "[1, 2]"])
def test_words_are_a_text_or_a_list_of_texts(value):
    in_file(f"engine-args = {value}")
    assert "is neither a text nor a list of texts" in problem()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('\nidle_shutdown = "5m"', "costctl.toml line 2, idle_shutdown: unknown key; did you mean 'idle-shutdown'?"),
        ("wibble = 1", "costctl.toml line 1, wibble: unknown key; `costctl config show` lists all keys"),
        ("port = 1\n[server]\nhost = 'x'", "costctl.toml line 2, server: unknown key; `costctl config show`"),
        ('"prot" = 1', "costctl.toml line 1, prot: unknown key; did you mean 'port'?"),
    ],
)
def test_an_unknown_key_is_said_with_its_line_and_what_was_meant(text, words):
    in_file(text)
    assert problem().startswith(words)


def test_a_file_that_is_no_toml_is_said_with_its_line():
    in_file("port = 1\nhost =\n")
    assert problem() == "costctl.toml: invalid value (at line 2, column 7)"


def test_a_file_that_is_no_text_is_said():
    Path("costctl.toml").write_bytes(b'model = "\xff"')
    assert problem() == "costctl.toml is not UTF-8 text (byte 9)"


def test_a_named_file_that_is_not_there_is_said():
    assert problem(config="/no/such/file.toml") == "there is no configuration file /no/such/file.toml"
    assert problem(environ={"COSTCTL_CONFIG": "none.toml"}) == "there is no configuration file none.toml"
    assert "there is no home folder" in problem(config="~nobody-of-this-name/costctl.toml")


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_keys_do_not_belong_in_the_file_and_are_not_repeated():
    in_file('api-keys = ["hunter2"]')
    told = problem()
    assert "keys do not belong in this file; use api-key-file or COSTCTL_API_KEYS" in told
    assert "hunter2" not in told


def test_a_secret_that_cannot_be_read_is_not_repeated():
    told = problem(api_keys=5)
    assert told == "--api-keys: its value cannot be read"


@pytest.mark.parametrize(
    ("name", "raw", "shown"),
    [
        ("api-keys", "hunter2", "***"),
        ("api-keys", (), ""),
        ("ledger", "postgresql://ann:hunter2@db/costs", "postgresql://ann:***@db/costs"),
        ("ledger", "postgresql://ann:h@nt/er2@db/costs", "postgresql://ann:***@db/costs"),
        ("ledger", "postgresql://ann@db/costs", "postgresql://ann@db/costs"),
        ("ledger", "sqlite:////home/ann/ledger.db", "sqlite:////home/ann/ledger.db"),
        ("ledger", None, ""),
        ("port", 8000, "8000"),
        ("eager", False, "false"),
        ("engine-args", ["--a", "b c"], "--a 'b c'"),
    ],
)
def test_what_is_shown_of_a_setting_has_no_secret_in_it(name, raw, shown):
    (setting,) = (one for one in SETTINGS if one.name == name)
    assert setting.shown(raw) == shown


# --- anything --------------------------------------------------------------------------------------------------------


@given(st.sampled_from(SETTINGS), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_any_text_is_either_understood_or_refused_in_words(setting, text):
    try:
        found(environ={setting.variable: text})
    except BadValueError as error:
        assert str(error).startswith(f"{setting.variable}: ")  # noqa: PT017 - either outcome is right


@given(st.sampled_from(SETTINGS), st.one_of(st.integers(), st.floats(), st.booleans(), st.lists(st.integers())))
def test_any_value_is_either_understood_or_refused_in_words(setting, value):
    try:
        resolve(flags={setting.name: value}, environ={}, now=NOW)
    except BadValueError as error:
        assert str(error).startswith(f"--{setting.name}: ")  # noqa: PT017 - either outcome is right
