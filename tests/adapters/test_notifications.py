"""Messages over apprise to a webhook and a mail server on this machine, and what is said when they do not arrive."""

import asyncio
import base64
import io
import logging
import socket
import subprocess
import sys

import pytest
from fakes.mail import MailSink
from fakes.webhook import Webhook

from costctl.adapters.notifications import AppriseNotifier, NotifyAll
from costctl.domain.messages import Attachment, BodyFormat, Message
from costctl.errors import BadValueError, NotificationError

REPORT = Message(
    title="January: 504.00 CNY, error=404, Socket Exception: SSL",  # what it says is not why it failed
    body="**504.00 CNY** in January.\n\n| GPU | cost |\n| --- | ---: |\n| T4 | 14.40 |\n",
    attachments=(
        Attachment(name="report 2026-01.html", content=b"<h1>January</h1>"),
        Attachment(name="\u4e00\u6708.csv", content=b"a,b\r\n1,2\r\n"),
    ),
)


@pytest.fixture
def all_logs():
    """What a program that logs everything would log."""
    root, kept = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(kept), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(handler)


async def send(url, message=REPORT, name="team"):
    await asyncio.to_thread(AppriseNotifier(name, url).send, message)


async def failure(url):
    with pytest.raises(NotificationError) as caught:
        await send(url)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


async def test_a_webhook_gets_the_message_and_the_files():
    async with Webhook() as hook:
        await send(f"json://ann:hunter2@127.0.0.1:{hook.port}/reports")
    (post,) = hook.posts
    assert (post["title"], post["message"]) == (REPORT.title, REPORT.body.strip())
    assert [(file["filename"], base64.b64decode(file["base64"])) for file in post["attachments"]] == [
        (attachment.name, attachment.content) for attachment in REPORT.attachments
    ]
    assert post["attachments"][0]["mimetype"] == "text/html"


async def test_mail_arrives_as_html_and_text_with_the_report_attached():
    async with MailSink() as sink:
        await send(f"mailto://127.0.0.1:{sink.port}/?from=costctl@example.org&to=ann@example.org,bob@example.org")
    assert sorted(sink.recipients) == ["ann@example.org", "bob@example.org"]
    mail = sink.mails[0]
    assert mail["Subject"] == REPORT.title
    html = mail.get_body(("html",)).get_content()
    assert "<strong>504.00 CNY</strong>" in html
    assert "<td" in html
    assert "14.40" in mail.get_body(("plain",)).get_content()
    page, table = mail.iter_attachments()
    assert (page.get_content_type(), page.get_content()) == ("text/html", "<h1>January</h1>")
    assert table.get_filename() == "\u4e00\u6708.csv"
    assert table.get_payload(decode=True) == b"a,b\r\n1,2\r\n"


@pytest.mark.parametrize("body_format", [BodyFormat.TEXT, BodyFormat.HTML])
async def test_a_body_that_is_no_markdown_is_sent_as_it_is(body_format):
    async with MailSink() as sink:
        message = Message(title="t", body="*a* <b>", body_format=body_format)
        await send(f"mailto://127.0.0.1:{sink.port}/?from=a@example.org&format={body_format}", message)
    assert "*a* <b>" in sink.mails[0].get_body((body_format.replace("text", "plain"),)).get_content()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "'team' got nothing: it answered 500; try again later, or look there for why"),
        (404, "'team' got nothing: it answered 404; check the target's url"),
        (301, "'team' got nothing: it answered 301; give the address that it leads to"),
    ],
)
async def test_a_webhook_that_refuses(status, words):
    async with Webhook(status=status) as hook:
        assert await failure(f"json://127.0.0.1:{hook.port}/hunter2?+X-Token=hunter2") == words
    assert len(hook.posts) == 1


async def test_a_webhook_that_does_not_answer():
    async with Webhook(silent=True) as hook:
        told = await failure(f"json://127.0.0.1:{hook.port}/hunter2?rto=0.2")
    assert (
        told == "'team' got nothing: it did not answer in time; `?cto=30&rto=30` at the end of its url waits for 30 s"
    )


async def test_a_mail_server_that_refuses_the_recipient():
    async with MailSink(refusal="550 no such user") as sink:
        told = await failure(f"mailto://127.0.0.1:{sink.port}/?from=a@example.org&to=hunter2@example.org")
    assert told == "'team' got nothing: it answered 550"
    assert sink.mails == []


@pytest.mark.parametrize("scheme", ["json://127.0.0.1:{port}/hunter2", "mailto://127.0.0.1:{port}/?from=a@example.org"])
async def test_where_nothing_listens(scheme):
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        told = await failure(scheme.format(port=taken.getsockname()[1]))
    assert told == "'team' got nothing: nothing listens there"


async def test_a_webhook_without_tls_that_is_asked_for_it():
    async with Webhook() as hook:
        told = await failure(f"jsons://127.0.0.1:{hook.port}/hunter2")
    assert told == "'team' got nothing: there is no secure connection to it"


async def test_what_goes_wrong_is_told_by_costctl_alone(capfd, all_logs):
    async with Webhook(status=500) as hook:
        await failure(f"json://127.0.0.1:{hook.port}/hunter2")
    assert capfd.readouterr() == ("", "")
    assert "hunter2" not in all_logs.getvalue()


@pytest.mark.parametrize("url", ["hunter2", "gopher://hunter2/x", "json://", "slack://hunter2", "http:///hunter2"])
def test_a_url_of_no_service_is_refused_and_not_repeated(url):
    with pytest.raises(BadValueError) as caught:
        AppriseNotifier("team", url)
    assert str(caught.value) == "the url of the target 'team' is none that apprise knows, like mailto:// or json://"


def test_without_apprise_it_is_said_how_to_get_it():
    code = """
import sys
sys.modules["apprise"] = None  # as if it were not installed
from costctl.adapters.notifications import AppriseNotifier
from costctl.errors import MissingPieceError
try:
    AppriseNotifier("team", "json://127.0.0.1")
except MissingPieceError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "sending needs apprise: pip install 'costctl[notify]'\n"


async def test_one_target_that_fails_keeps_no_other_from_getting_the_message():
    async with Webhook(status=500) as broken, Webhook() as working:
        targets = [
            AppriseNotifier(name, f"json://127.0.0.1:{hook.port}/") for name, hook in (("x", broken), ("y", working))
        ]
        with pytest.raises(NotificationError) as caught:
            await asyncio.to_thread(NotifyAll(targets).send, REPORT)
    assert str(caught.value).startswith("'x' got nothing: it answered 500")
    assert str(caught.value).endswith("(sent to 1 of 2)")
    assert len(working.posts) == 1


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a\\b", "a\0b"])
def test_an_attachment_is_one_file(name):
    with pytest.raises(BadValueError, match="is not the name of a file"):
        Attachment(name=name, content=b"")
