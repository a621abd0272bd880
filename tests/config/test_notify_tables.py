"""`[[notify]]` in costctl.toml: where messages go, and that no secret is told."""

import pytest
from click.testing import CliRunner

from costctl.cli.root import cli
from costctl.config.notifications import choose_targets, read_targets
from costctl.config.tables import read_toml
from costctl.errors import BadValueError
from costctl.wiring.notifications import load_notifier

TEAM = "[[notify]]\nname = 'team'\nurl = 'json://hunter2'\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read_text(text):
        (tmp_path / "costctl.toml").write_text(text, encoding="utf-8")
        return read_targets(read_toml(tmp_path / "costctl.toml"))

    return read_text


def problem(call, *args):
    with pytest.raises(BadValueError) as caught:
        call(*args)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_a_url_stands_in_the_file_the_environment_or_a_file_of_its_own(read, tmp_path):
    (tmp_path / "hook").write_text("json://file\n")
    text = TEAM + "[[notify]]\nname = 'env'\nurl-env = 'HOOK'\n[[notify]]\nname = 'file'\nurl-file = 'hook'\n"
    targets = read(text)
    found = [target.find_url({"HOOK": " json://env "}) for target in targets]
    assert found == ["json://hunter2", "json://env", "json://file"]
    assert "hunter2" not in repr(targets)
    assert read_targets(None) == ()


def test_a_command_needs_no_library_and_is_not_told_either(read, tmp_path):
    (target,) = read("[[notify]]\nname = 'pager'\ncommand = 'page --token hunter2'\n")
    assert target.command == "page --token hunter2"
    assert "hunter2" not in repr(target)


def test_all_targets_or_those_that_are_named(read):
    targets = read(TEAM + TEAM.replace("team", "ann"))
    assert [target.name for target in choose_targets(targets)] == ["team", "ann"]
    assert [target.name for target in choose_targets(targets, ["ann", "ann"])] == ["ann"]
    assert problem(choose_targets, targets, ["tem"]) == "no target is called 'tem'; did you mean 'team'?"
    assert problem(choose_targets, targets, ["zz"]) == "no target is called 'zz'; there are team, ann"
    assert "there is nowhere to send to: write [[notify]] with a name and a url" in problem(choose_targets, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[notify]]\nurl = 'json://hunter2'", "line 1, notify: 'name' is missing"),
        ("[[notify]]\nname = 'team'", "line 1, notify: give 'team' one of url, url-env, url-file and command"),
        (TEAM + "url-env = 'HOOK'", "line 1, notify: give 'team' one of url, url-env, url-file and command"),
        (TEAM + TEAM, "line 4, notify: the name 'team' is taken: "),
        (TEAM.replace("'json://hunter2'", "['hunter2']"), "line 3, notify.url: it is not a text"),
        (TEAM + "tokn = 'hunter2'", "line 4, notify.tokn: unknown key"),
        ("notify = 'json://hunter2'", "line 1, notify: write it as [[notify]], once for each"),
        ("notify = ['json://hunter2']", "line 1, notify: write it as [[notify]], once for each"),
        ("[notify]\nteam = 'json://hunter2'", "line 1, notify: write it as [[notify]], once for each"),
    ],
)
def test_mistakes_are_said_with_their_line_and_without_the_secret(read, text, words):
    assert words in problem(read, text)


def test_a_url_that_is_not_where_it_should_be(read, tmp_path):
    (env,) = read("[[notify]]\nname = 'team'\nurl-env = 'HOOK'")
    for environ in ({}, {"HOOK": " "}):
        assert "notify: the environment variable HOOK is not set" in problem(env.find_url, environ)
    (file,) = read("[[notify]]\nname = 'team'\nurl-file = 'hook'")
    assert "notify: cannot read hook: No such file or directory" in problem(file.find_url, {})
    for content, words in (
        (b"", "has not one line"),
        (b"hunter2\nhunter2", "has not one line"),
        (b"\xff", "not UTF-8"),
    ):
        (tmp_path / "hook").write_bytes(content)
        assert words in problem(file.find_url, {})


def test_no_target_is_shown_among_the_settings(read):
    read(TEAM)
    shown = CliRunner().invoke(cli, ["config", "show", "--json"])
    assert shown.exit_code == 0
    assert "hunter2" not in shown.output


def test_a_notifier_is_made_of_the_configuration(read, monkeypatch):
    read(TEAM + "[[notify]]\nname = 'ann'\nurl-env = 'NO_SUCH_VARIABLE'\n")
    load_notifier(["team"])  # what others lack does not matter
    assert "NO_SUCH_VARIABLE is not set" in problem(load_notifier)
