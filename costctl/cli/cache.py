"""`costctl cache`: what is in the cache of answers, and how to empty it."""

from __future__ import annotations

import json
from typing import Any

import click

_EPILOG = """\b
Examples:
  costctl cache stats
  costctl cache clear

\b
The cache is off until costctl.toml has a table like this:
  [cache]
  models = ["*"]                  # or routes = ["/v1/embeddings"]; without both
  ttl = "1h"                      # only what says x-costctl-cache: use
  max-size = "256MiB"
  store = "disk"                  # or "redis://HOST:PORT/0", or store-env = "NAME"
  temperature-above-zero = false

What is asked with temperature 0 or a seed is cached, and embeddings, scores and the like. Without a temperature the
model's own default counts, so that is not. A stream is another answer than a plain one. Equal requests at the same time
are not merged. All API keys share the cache; "cache_salt" in a request keeps answers apart.

An answer's header x-costctl-cache says hit or miss, and is not there where the cache has no part. A request may say
x-costctl-cache: use, refresh (do not look, but keep) or bypass, or cache-control: no-cache or no-store.
"""


@click.group(epilog=_EPILOG)
def cache() -> None:
    """Look at the cache of answers, or empty it.

    A hit neither wakes the engine nor counts as activity. A store that fails or is slow costs only hits.
    """


@cache.command(epilog="\b\nExamples:\n  costctl cache stats\n  costctl cache stats --json | jq .hit_rate")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def stats(*, as_json: bool) -> None:
    """Show what it holds, and what it answered since the daemon started."""
    found = _asked("GET")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in _rows(found):
        click.echo(f"{click.style(f'{name:<9}', bold=True)} {value}")


@cache.command(epilog="\b\nExamples:\n  costctl cache clear")
@click.option("--json", "as_json", is_flag=True, help="Print the number as JSON.")
def clear(*, as_json: bool) -> None:
    """Drop all answers, and take them off the disk."""
    dropped = _asked("DELETE")
    click.echo(json.dumps({"dropped": dropped}) if as_json else f"dropped {_answers(dropped)}")


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    held = _answers(found["entries"])
    if found["bytes_used"] is not None:
        held += f", {found['bytes_used'] / 2**20:.1f} of {found['bytes_most'] / 2**20:.1f} MiB"
    rows = [("store", found["store"]), ("holds", held)]
    if not found["is_on"]:
        rows.insert(0, ("cache", "off: nothing in costctl.toml turns it on, see `costctl cache --help`"))
    elif found["hits"] is not None:
        rows.append(("answered", answered(found)))
    if found["problem"]:
        rows.append(("warning", found["problem"]))
    return rows


def answered(found: dict[str, Any]) -> str:
    """Return in words how many requests the cache answered."""
    asked = found["hits"] + found["misses"]
    if not asked:
        return "nothing was asked yet"
    tokens = f"{found['saved_tokens']:,} tokens saved"
    return f"{found['hits']:,} of {asked:,} requests ({found['hit_rate']:.1%}), {tokens}"


def _answers(number: int) -> str:
    return f"{number:,} answer{'' if number == 1 else 's'}"


def _asked(method: str) -> Any:
    """Ask the daemon, or the store itself if none runs or the daemon has no cache."""
    from costctl.cli.client import ask
    from costctl.errors import AnswerStoreError, DaemonNotRunningError

    try:
        answer = ask(method, "/cache")
    except DaemonNotRunningError:
        return _of_store(method)
    if "error" in answer:
        raise AnswerStoreError(answer["error"])
    return answer["answer"] if answer["is_on"] else _of_store(method)


def _of_store(method: str) -> Any:
    from contextlib import closing
    from dataclasses import asdict

    from costctl.cli.client import home
    from costctl.wiring.caching import load_cache, make_store

    settings = load_cache()
    with closing(make_store(settings, home())) as store:
        if method == "DELETE":
            return store.clear()
        counted = dict.fromkeys(("hits", "misses", "hit_rate", "saved_tokens", "stored", "problem"))
        return {"is_on": settings.is_on, "store": store.name} | counted | asdict(store.content())
