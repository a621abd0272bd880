"""`costctl report --send` to a web server on this machine."""

import asyncio
import base64

import pytest
from click.testing import CliRunner
from fakes.webhook import Webhook

from costctl.cli.root import cli
from costctl.errors import BadValueError, NotificationError


@pytest.fixture
def home(year_url, tmp_path, monkeypatch):
    monkeypatch.setenv("COSTCTL_HOME", str(tmp_path))
    monkeypatch.setenv("COSTCTL_LEDGER", year_url)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def send(*arguments):
    result = CliRunner().invoke(cli, ["report", "--month", "2026-01", "--lang", "en", *arguments])
    if result.exception:
        raise result.exception
    return result


async def test_the_report_goes_to_the_targets_with_its_page(home):
    async with Webhook() as hook:
        (home / "costctl.toml").write_text(
            f'[[notify]]\nname = "team"\nurl = "json://127.0.0.1:{hook.port}/s3cret"\n'
            f'[[notify]]\nname = "boss"\nurl = "json://127.0.0.1:{hook.port}/other"\n'
        )
        result = await asyncio.to_thread(send, "--send-to", "team")
        (post,) = hook.posts
    assert (result.stdout, result.stderr) == ("", "sent: 2026-01\n")
    assert post["title"] == "GPU cost, 2026-01"
    assert "- total: **1" in post["message"]
    (page,) = post["attachments"]
    assert page["filename"] == "costctl-2026-01.html"
    assert base64.b64decode(page["base64"]).lstrip().startswith(b"<!DOCTYPE html>")


async def test_a_target_that_refuses_is_named_without_its_secret(home):
    async with Webhook(status=500) as hook:
        (home / "costctl.toml").write_text(f'[[notify]]\nname = "team"\nurl = "json://127.0.0.1:{hook.port}/s3cret"')
        with pytest.raises(NotificationError, match="'team' got nothing: it answered 500") as refused:
            await asyncio.to_thread(send, "--send")
    assert "s3cret" not in str(refused.value)


def test_without_a_target_nothing_is_sent_and_it_is_said_what_to_do(home):
    with pytest.raises(BadValueError, match=r"notify"):
        send("--send")
