"""Messages: what is sent to people beyond the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from costctl.errors import BadValueError


class BodyFormat(StrEnum):
    """What a message's body is written in; whoever receives it gets what he can show."""

    MARKDOWN = "markdown"
    HTML = "html"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that goes with a message; the end of its name says what it is."""

    name: str
    content: bytes

    def __post_init__(self) -> None:
        if self.name in {"", ".", ".."} or set(self.name) & {"/", "\\", "\0"}:
            raise BadValueError(f"{self.name!r} is not the name of a file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A title, a body that is not empty, and files."""

    title: str
    body: str
    body_format: BodyFormat = BodyFormat.MARKDOWN
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        if not self.body.strip():
            raise ValueError("a message says something")
