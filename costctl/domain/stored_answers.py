"""An answer as the cache keeps it: read again with care, since others may write into a shared store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FORMAT = 1
_HARMLESS = re.compile(r"[\x20-\x7e]{1,200}")
_BROKEN_OFF = re.compile(rb'"finish_reason":\s*"(?:abort|error)"')
"""Of any choice, anywhere: quotes in an answer's text are escaped, so text never looks like this."""
_ERROR = re.compile(rb'^data: ?\{\s*"(?:error":\s*[{"]|(?:object|type)":\s*"error")', re.MULTILINE)
"""In a stream, as vLLM has said it now and earlier, and as Anthropic's API does."""
_DATA = re.compile(rb"^data: ?(.*)$", re.MULTILINE)
_LAST_EVENTS = 4
"""What a stream says of its end stands in these: reason, usage, and the end itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """The tokens that the engine worked on for an answer, as far as they are known."""

    prompt: int = 0
    generation: int = 0

    def __post_init__(self) -> None:
        if min(self.prompt, self.generation) < 0:
            raise BadValueError("tokens are counted from zero")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """A complete answer: its chunks as the engine sent them; one that is no stream has one."""

    content_type: str
    chunks: tuple[bytes, ...]
    tokens: Tokens
    stored_at_s: float
    """In seconds since 1970."""

    @property
    def is_stream(self) -> bool:
        """Whether it is replayed as events."""
        return self.content_type.startswith("text/event-stream")

    def is_fresh(self, ttl_s: float, now_s: float) -> bool:
        """Return whether it is still good; one from a far future is of a clock that was wrong."""
        return abs(now_s - self.stored_at_s) < ttl_s

    def to_bytes(self) -> bytes:
        """Return it for a store: a line of JSON, then the answer."""
        head = {
            "format": _FORMAT,
            "content_type": self.content_type,
            "sizes": list(map(len, self.chunks)),
            "prompt_tokens": self.tokens.prompt,
            "generation_tokens": self.tokens.generation,
            "stored_at": self.stored_at_s,
        }
        return b"".join((json.dumps(head).encode(), b"\n", *self.chunks))

    @classmethod
    def from_bytes(cls, entry: bytes) -> StoredAnswer:
        """Return what `to_bytes` wrote.

        Raises:
            BadValueError: it is something else.
        """
        line, _, content = entry.partition(b"\n")
        try:
            head = json.loads(line)
            if head["format"] != _FORMAT or not _HARMLESS.fullmatch(head["content_type"]):
                raise BadValueError("this is an answer of another format")
            return cls(
                content_type=head["content_type"],
                chunks=_cut(content, head["sizes"]),
                tokens=Tokens(prompt=int(head["prompt_tokens"]), generation=int(head["generation_tokens"])),
                stored_at_s=float(head["stored_at"]),
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadValueError(f"this is no stored answer: {error!r}") from error


def complete_answer(content_type: str, chunks: Sequence[bytes], *, now_s: float) -> StoredAnswer | None:
    """Return an answer with status 200 as it is to be kept; None if it is not the whole answer that was asked for."""
    kind = content_type.partition(";")[0].strip().lower()
    tokens = _tokens(kind, b"".join(chunks))
    if tokens is None or not _HARMLESS.fullmatch(content_type):
        return None
    return StoredAnswer(content_type=content_type, chunks=tuple(chunks), tokens=tokens, stored_at_s=now_s)


def _cut(content: bytes, sizes: Sequence[Any]) -> tuple[bytes, ...]:
    if any(not isinstance(size, int) or size < 0 for size in sizes) or sum(sizes) != len(content):
        raise BadValueError("the answer is not as long as it says")
    return tuple(content[begin:end] for begin, end in pairwise(accumulate(sizes, initial=0)))


def _tokens(kind: str, content: bytes) -> Tokens | None:
    match kind:
        case "application/json":
            return _plain_tokens(content)
        case "text/event-stream":
            return _stream_tokens(content)
        case _:
            return None  # of others it is not known when they are complete


def _plain_tokens(content: bytes) -> Tokens | None:
    answer = _read(content)
    if answer is None or answer.get("error") is not None or _BROKEN_OFF.search(content):
        return None
    return _usage([answer])


def _stream_tokens(content: bytes) -> Tokens | None:
    """Return the tokens of a stream that came to its end, without usage one for each event with content."""
    events = _DATA.findall(content.replace(b"\r\n", b"\n"))
    last = [answer for answer in map(_read, events[-_LAST_EVENTS:]) if answer is not None]
    ended = events[-1:] == [b"[DONE]"] or (last and last[-1].get("type") == "message_stop")
    if not ended or _ERROR.search(content) or _BROKEN_OFF.search(content):
        return None
    found = _usage(last)
    return found if found.generation else Tokens(prompt=found.prompt, generation=max(0, len(events) - 2))


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _usage(answers: Iterable[dict[str, Any]]) -> Tokens:
    """Return what an engine says it has worked on, in OpenAI's words or Anthropic's."""
    found = [answer["usage"] for answer in answers if isinstance(answer.get("usage"), dict)]
    usage = found[-1] if found else {}
    return Tokens(
        prompt=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        generation=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
