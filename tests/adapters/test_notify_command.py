"""A message to a command of one's own: it runs for real and writes a file."""

import os

import pytest

from costctl.adapters.notify_command import CommandNotifier
from costctl.domain.messages import Attachment, Message
from costctl.errors import NotificationError

FAILED = Message(
    title="costctl: schedule nightly: failed $(id) 'x'",
    body="the last line\n",
    attachments=(Attachment(name="a.txt", content=b"more"),),
)


def test_it_gets_title_body_and_files(tmp_path):
    said = tmp_path / "said"
    CommandNotifier("pager", f'{{ echo "$COSTCTL_TITLE"; cat; cat "$COSTCTL_FILES/a.txt"; }} > {said}').send(FAILED)
    assert said.read_text() == "costctl: schedule nightly: failed $(id) 'x'\nthe last line\nmore"


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("no-such-program", 127), ("kill -9 $$", -9)])
def test_one_that_fails_is_named_and_its_words_are_not_repeated(command, code):
    with pytest.raises(NotificationError) as caught:
        CommandNotifier("pager", command).send(FAILED)
    assert str(caught.value) == f"'pager' got nothing: its command ended with exit code {code}"


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    fifo = tmp_path / "fifo"
    with pytest.raises(NotificationError, match="still running after 0 s"):
        CommandNotifier("pager", f"mkfifo {fifo}; cat {fifo} & wait", patience_s=0.5).send(FAILED)
    with pytest.raises(OSError, match="No such device"):  # soon nobody reads it any more
        for _ in iter(lambda: os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)), "never"):
            pass


def test_one_that_does_not_read_is_no_failure():
    CommandNotifier("pager", "true").send(Message(title="t", body="x" * 1_000_000))
