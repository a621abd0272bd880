"""Requests for `batch.py`: prompts of so many tokens, each different, as OpenAI batch lines."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SERVED_AS = "bench"
_SPACE = "\u0120"
"""How byte-level tokenizers write the space that a word begins with."""


def words_of_one_token(model: Path) -> list[str]:
    """Return words that the model's tokenizer reads as one token each, with the space before them.

    Raises:
        SystemExit: its folder has no byte-level tokenizer.json.
    """
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted(token[1:] for token in vocabulary if token.startswith(_SPACE) and _is_plain(token[1:]))
    if not words:
        raise SystemExit(f"{model / 'tokenizer.json'} has no plain words: it is not a byte-level tokenizer")
    return words


def _is_plain(word: str) -> bool:
    return len(word) > 2 and word.isascii() and word.isalpha() and word.islower()


def prompts(words: Sequence[str], *, count: int, tokens: int, seed: int) -> list[str]:
    """Return prompts of `tokens` random words; another seed gives others, so that no prefix cache knows them."""
    dice = random.Random(seed)
    return ["".join(f" {word}" for word in dice.choices(words, k=tokens)) for _ in range(count)]


def body(prompt: str, *, output_tokens: int) -> dict[str, Any]:
    """Return a chat request that is answered with exactly `output_tokens` tokens."""
    return {
        "model": SERVED_AS,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": output_tokens,
        "temperature": 0,
        "ignore_eos": True,
    }


def write_jobs(path: Path, bodies: Iterable[dict[str, Any]]) -> None:
    """Write OpenAI batch lines, which `vllm run-batch` takes as well."""
    with path.open("w", encoding="utf-8") as file:
        for number, wanted in enumerate(bodies, 1):
            line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": wanted}
            file.write(json.dumps(line) + "\n")
