"""Messages to webhooks, mail and chats through the apprise library, which speaks to many services by their URL.

apprise is an extra and is imported only here, when it is used. Such URLs hold secrets in any of their parts, and what
apprise logs quotes some of them: so a target is only called by its name, and of the log only the reason is taken.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from costctl.errors import BadValueError, MissingPieceError, NotificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from costctl.domain.messages import Attachment, Message
    from costctl.ports import Notifier

_ANSWER = re.compile(
    r"\berror=(?P<code>[345]\d\d)\.?$"  # by HTTP
    r"|^Socket Exception: .*?\((?P<reply>[45]\d\d), b"  # by SMTP
)
_ANSWERS = {
    "3": "; give the address that it leads to",
    "4": "; check the target's url",
    "5": "; try again later, or look there for why",
}
_REASONS = {
    "timed out": "it did not answer in time; `?cto=30&rto=30` at the end of its url waits for 30 s",
    "Connection refused": "nothing listens there",
    "resolve|getaddrinfo|Name or service|Temporary failure in name": "its host is not known",
    "SSL|CERTIFICATE": "there is no secure connection to it",
    "": "it cannot be reached",
}
_UNSAID = "it did not take the message; check the target's url"


class AppriseNotifier:
    """One target (port Notifier)."""

    def __init__(self, name: str, url: str) -> None:
        """Take the target called `name` in the configuration.

        Raises:
            MissingPieceError: apprise is not installed.
            BadValueError: `url` is none of a service that apprise knows.
        """
        apprise = _import_apprise()
        # A redirected webhook would lose the message and still report success.
        asset = apprise.AppriseAsset(app_id="costctl", app_desc="costctl", app_url="", http_redirects=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries behind all the services, which are loaded here
            service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            raise BadValueError(f"the url of the target {name!r} is none that apprise knows, like mailto:// or json://")
        self._name = name
        self._target = apprise.Apprise(service, asset=asset)

    def send(self, message: Message) -> None:
        """Send `message` and wait until it is taken; blocking. Raises NotificationError."""
        with TemporaryDirectory(prefix="costctl-") as folder:
            result = self._target.notify(
                title=message.title,
                body=message.body,
                body_format=message.body_format.value,
                attach=list(_files(message.attachments, Path(folder))),
                log_level=logging.DEBUG,
            )
        if not result:
            raise NotificationError(f"{self._name!r} got nothing: {_reason(entry.message for entry in result.logs())}")


class NotifyAll:
    """Several targets (port Notifier): one that fails keeps no other from getting the message."""

    def __init__(self, targets: Sequence[Notifier]) -> None:
        self._targets = targets

    def send(self, message: Message) -> None:
        """Send `message` to all; blocking. Raises NotificationError, which names those that did not get it."""
        failures = []
        for target in self._targets:
            try:
                target.send(message)
            except NotificationError as error:
                failures.append(str(error))
        if failures:
            reached = len(self._targets) - len(failures)
            told = f" (sent to {reached} of {len(self._targets)})" if reached else ""
            raise NotificationError("; ".join(failures) + told)


def _import_apprise() -> Any:
    try:
        import apprise  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingPieceError("sending needs apprise: pip install 'costctl[notify]'") from None
    # What they say holds parts of URLs: nobody but `send` listens.
    for name in ("apprise", "urllib3"):
        log = logging.getLogger(name)
        log.addHandler(logging.NullHandler())
        log.propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)  # why a connection failed is only said there
    return apprise


def _files(attachments: Iterable[Attachment], folder: Path) -> Iterator[Any]:
    from apprise.attachment.file import AttachFile  # noqa: PLC0415 - an extra

    for attachment in attachments:
        path = folder / attachment.name
        path.write_bytes(attachment.content)
        yield AttachFile(path=str(path))  # type: ignore[no-untyped-call] # of theirs


def _reason(said: Iterable[str]) -> str:
    """Return why a message was not taken, without a word of what was said: it may hold secrets."""
    problem = None
    for line in said:
        if answer := _ANSWER.search(line):
            return f"it answered {answer['reply'] or answer['code'] + _ANSWERS[answer['code'][0]]}"
        if line.startswith("Socket Exception: "):
            problem = next(reason for words, reason in _REASONS.items() if re.search(words, line))
    return problem or _UNSAID
