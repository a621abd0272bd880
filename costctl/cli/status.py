"""`costctl status`."""

from __future__ import annotations

import json
from typing import Any

import click

from costctl.cli.cache import answered
from costctl.cli.client import ask
from costctl.domain.durations import format_duration

_COLOURS = {"ready": "green", "starting": "yellow", "stopping": "yellow", "failed": "red", "stuck": "red"}


@click.command(epilog="\b\nExamples:\n  costctl status\n  costctl status --json | jq .idle.stops_in_seconds")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(*, as_json: bool) -> None:
    """Show the daemon's state, the idle countdown and why, the cost so far, and the GPU.

    Exit code 1 if no daemon runs.
    """
    answer = ask("GET", "/status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for name, value in _rows(answer):
        click.echo(f"{click.style(f'{name:<9}', bold=True)} {value}", color=_colour())


def _colour() -> bool | None:
    import os

    return False if os.environ.get("NO_COLOR") else None


def _rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("engine", _engine(answer["engine"])),
        ("model", f"{answer['model']} at {answer['url'] or 'no port'} (daemon process {answer['pid']})"),
        ("idle", _idle(answer)),
        ("session", _session(answer["session"])),
    ]
    rows += [("batch", _batch(batch)) for batch in answer["batches"]]
    if answer["cache"]:
        rows.append(("cache", answered(answer["cache"])))
    rows += [("gpu", _gpu(gpu)) for gpu in answer["gpus"]] or [("gpu", _unwatched(answer["gpu"]))]
    rows += [("warning", click.style(text, fg="red")) for text in answer["warnings"]]
    failure = answer["engine"]["failure"]
    if failure:
        rows += [("", line) for line in failure["evidence"] or failure["last_lines"]]
    return rows


def _engine(engine: dict[str, Any]) -> str:
    state = engine["state"]
    text = f"{click.style(state, fg=_COLOURS.get(state))} for {format_duration(engine['seconds_in_state'])}"
    if engine["start"]:
        start = engine["start"]
        usual = f" of usually {format_duration(start['usual_seconds'])}" if start["usual_seconds"] else ""
        text += f": {start['phase']}, {format_duration(start['elapsed_seconds'])}{usual}"
    if engine["in_flight"] or engine["waiting"]:
        text += f"; {engine['in_flight']} requests in flight, {engine['waiting']} waiting"
    if engine["reason"]:
        text += f": {engine['reason']}"
    return text


def _idle(answer: dict[str, Any]) -> str:
    text = answer["idle"]["why"]
    if answer["idle"]["stops_in_seconds"] is not None:
        text += f", then {answer['on_idle']}"
    return str(text)


def _session(session: dict[str, Any]) -> str:
    lasted = format_duration(session["seconds"])
    started = session["started_at"][:19].replace("T", " ")
    price = f"{session['price_per_hour']} {session['currency']}/h" if session["price_per_hour"] else "price unknown"
    cost = f"{session['cost'][:-4]} {session['currency']}" if session["cost"] else "cost unknown"
    return f"{cost} so far: {lasted} since {started} UTC at {price}; now {session['phase']}"


def _batch(batch: dict[str, Any]) -> str:
    if batch["state"] == "queued":
        return f"{batch['id']} {batch['name']}: queued at place {batch['place']}, {batch['lines']:,} lines"
    failed = f", {batch['failed']:,} failed" if batch["failed"] else ""
    return f"{batch['id']} {batch['name']}: {batch['requests']:,} of {batch['lines']:,} lines{failed}"


def _gpu(gpu: dict[str, Any]) -> str:
    text = f"{gpu['name']}: {gpu['memory_used_mib']:,} of {gpu['memory_total_mib']:,} MiB"
    if gpu["utilisation_percent"] is not None:
        text += f", {gpu['utilisation_percent']} % busy"
    if gpu["power_watts"] is not None:
        text += f", {gpu['power_watts']} W"
    return text


def _unwatched(names: list[str]) -> str:
    return f"{', '.join(names)} (not polled while the engine is off)" if names else "none"
