"""What the simulated model says, and how its tokens are counted."""

from __future__ import annotations

import json

ANSWER = (
    "Hello from a simulated engine: no GPU was rented for this answer, and no model was asked. "
    "The words are always the same, so that a test can tell when one of them is missing. "
)
_TOKENS = tuple(" " + word for word in ANSWER.split())
_ESCAPED = tuple(json.dumps(token).encode() for token in _TOKENS)
_FIRST = json.dumps(_TOKENS[0].lstrip()).encode()
DEFAULT_LENGTH = len(_TOKENS)
"""Tokens of an answer whose length nobody asked for."""
CHAT_TEMPLATE_TOKENS = 4
"""What a chat template adds to every message."""
_TOKEN_BYTES = 4


def text(length: int) -> str:
    """Return the answer of `length` tokens; it begins anew when it has ended."""
    rounds, rest = divmod(length, DEFAULT_LENGTH)
    return ("".join(_TOKENS) * rounds + "".join(_TOKENS[:rest])).lstrip()


def escaped(index: int) -> bytes:
    """Return the token at `index` as a JSON string."""
    return _ESCAPED[index % DEFAULT_LENGTH] if index else _FIRST


def token(index: int) -> str:
    """Return the token at `index`."""
    return _TOKENS[index % DEFAULT_LENGTH] if index else _TOKENS[0].lstrip()


def count_tokens(content: object) -> int:
    """Return the tokens of a prompt: text, token ids, or a list or mapping of such."""
    if isinstance(content, str):
        return -(-len(content.encode()) // _TOKEN_BYTES)
    if isinstance(content, list):
        return sum(count_tokens(part) for part in content)
    if isinstance(content, dict):
        return sum(count_tokens(content.get(key)) for key in ("content", "text", "input"))
    return 1 if isinstance(content, int) else 0


def tokenise(content: str) -> list[int]:
    """Return token ids, one for four bytes."""
    data = content.encode()
    pieces = (data[at : at + _TOKEN_BYTES] for at in range(0, len(data), _TOKEN_BYTES))
    return [int.from_bytes(b"\x01" + piece) for piece in pieces]  # the leading one keeps zero bytes


def detokenise(tokens: list[int]) -> str:
    """Return the text that `tokenise` made these ids of; foreign ids give some other text."""
    return b"".join(number.to_bytes(_TOKEN_BYTES + 4).lstrip(b"\0")[1:] for number in tokens).decode(errors="replace")
