"""What the answer cache does for a support bot: repeated questions against the simulated engine, through the daemon.

Customers press the same few buttons, and some write in words of their own. So a share of the requests is unique, the
others are drawn from a list of known questions with Zipf's law (the k-th is asked as often as 1/k), both from a fixed
seed. Each share is asked once with the cache and once without; the table goes to stdout as Markdown.

    python benchmarks/repeated_questions.py --requests 600 --unique 0.25 0.4 0.55
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from processes import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "Qwen/Qwen3-1.7B"
ENGINE = ("--start-seconds", "0.5", "--first-token-seconds", "0.05", "--tokens-per-second", "200")
PRICE = "1.8 CNY/h"
PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked, and how long its answer is."""

    text: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One round: what clients saw, and what the ledger says of the engine."""

    hits: int
    requests: int
    busy_s: float
    saved_s: float
    saved_cost: str
    hit_ms: float
    miss_ms: float


def questions(requests: int, *, known: int, unique: float, seed: int) -> list[Question]:
    """Draw the questions of a day; each known one always has the same answer's length."""
    chance = Random(seed)
    usual = [Question(text=f"How do I do number {rank}?", max_tokens=chance.randint(10, 120)) for rank in range(known)]
    weights = [1 / rank for rank in range(1, known + 1)]
    numbers = count(1)

    def own_words() -> Question:
        return Question(text=f"In my own words, case {next(numbers)}", max_tokens=chance.randint(10, 120))

    return [own_words() if chance.random() < unique else chance.choices(usual, weights)[0] for _ in range(requests)]


def ask(port: int, question: Question) -> tuple[bool, float]:
    """Ask one question; return whether it was a hit, and the milliseconds it took."""
    body = {
        "model": MODEL,
        "temperature": 0,
        "max_tokens": question.max_tokens,
        "messages": [
            {"role": "system", "content": "You are a support bot."},
            {"role": "user", "content": question.text},
        ],
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode())
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        answer.read()
        return answer.headers["x-costctl-cache"] == "hit", (time.perf_counter() - began) * 1000


def one_round(asked: Sequence[Question], *, cached: bool, at_once: int) -> Outcome:
    """Run a daemon of its own for these questions."""
    with tempfile.TemporaryDirectory(prefix="bench-cache") as folder:
        home, port = Path(folder), free_port()
        (home / "costctl.toml").write_text('[cache]\nmodels = ["*"]\n' if cached else "")
        environment = os.environ | {"COSTCTL_HOME": folder, "COSTCTL_CONFIG": f"{home / 'costctl.toml'}"}
        costctl = (sys.executable, "-m", "costctl")
        options = ("--engine", "sim", "--gpu", "sim", "--port", f"{port}", "--price", PRICE, "--on-idle", "unload")
        daemon = subprocess.Popen(
            (*costctl, "serve", *options, "--", *ENGINE),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(port)
            ask(port, Question(text="Are you there?", max_tokens=1))
            with ThreadPoolExecutor(at_once) as clients:
                answers = list(clients.map(lambda question: ask(port, question), asked))
            subprocess.run((*costctl, "stop"), env=environment, check=True, capture_output=True)
            daemon.wait(PATIENCE_S)
            report = subprocess.run((*costctl, "report", "--json"), env=environment, check=True, capture_output=True)
        finally:
            daemon.kill()
            daemon.wait()
    return outcome(answers, json.loads(report.stdout))


def outcome(answers: Sequence[tuple[bool, float]], report: dict) -> Outcome:
    use = next(iter(report["cache"]), None)
    return Outcome(
        hits=sum(hit for hit, _ in answers),
        requests=len(answers),
        busy_s=report["totals"]["phases"]["busy"]["seconds"],
        saved_s=use["saved_busy_seconds"] if use else 0.0,
        saved_cost=f"{use['saved_cost']} {use['currency']}" if use else "-",
        hit_ms=median([took for hit, took in answers if hit] or [0.0]),
        miss_ms=median([took for hit, took in answers if not hit] or [0.0]),
    )


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--known", type=int, default=200, help="questions that everybody asks")
    parser.add_argument("--unique", type=float, nargs="+", default=[0.25, 0.4, 0.55], help="shares of own words")
    parser.add_argument("--at-once", type=int, default=4, help="clients")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    print("| own words | repeated | hit rate | engine busy without | with | saved by the report | worth | hit | miss |")
    print("|---|---|---|---|---|---|---|---|---|")
    for unique in wanted.unique:
        asked = questions(wanted.requests, known=wanted.known, unique=unique, seed=wanted.seed)
        without, cached = (one_round(asked, cached=on, at_once=wanted.at_once) for on in (False, True))
        repeated = 1 - len({question.text for question in asked}) / len(asked)
        print(
            f"| {unique:.0%} | {repeated:.1%} | {cached.hits / cached.requests:.1%} | {without.busy_s:.1f} s "
            f"| {cached.busy_s:.1f} s | {cached.saved_s:.1f} s | {cached.saved_cost} "
            f"| {cached.hit_ms:.1f} ms | {cached.miss_ms:.0f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    main()
