"""`costctl demo`: the main job once, start to report, with a simulated engine and a simulated GPU."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costctl.errors import CostctlError, MissingPieceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL = "Qwen/Qwen3-1.7B"
_IDLE_WINDOW = "4s"
_PRICE = "1.8 CNY/h"
_ENGINE_ARGS = ("--start-seconds", "3", "--tokens-per-second", "60")
_END_WITHIN_S = 60.0
_LINES = 400
_SETTINGS = f"""engine = "sim"
gpu = "sim"
price = "{_PRICE}"
"""


@click.command(epilog="\b\nExample:\n  costctl demo --keep")
@click.option("--keep", is_flag=True, help="Keep the folder with the ledger and the logs, and say where it is.")
def demo(*, keep: bool) -> None:
    """Run the main job once: start on a request, stream, go idle, stop; run a batch; and report. About 25 seconds.

    Everything is simulated and on 127.0.0.1; nothing is powered off and nothing is billed.
    """
    try:
        import openai
    except ImportError:
        raise MissingPieceError("the demo talks through the openai client: pip install 'costctl[demo]'") from None
    folder = Path(tempfile.mkdtemp(prefix="costctl-demo-"))
    try:
        _Demo(folder, openai).run()
    finally:
        if keep:
            click.echo(f"\nThe demo's ledger and logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    """The steps, each of which says what it does before it does it."""

    def __init__(self, folder: Path, openai: Any) -> None:
        self._folder = folder
        self._openai = openai
        self._step = 0
        self._environment = {**os.environ, "COSTCTL_HOME": str(folder)}
        self._port = _free_port()

    def run(self) -> None:
        self._say(f"Start the daemon, as a person would on a rented GPU; this one is simulated and costs {_PRICE}.")
        serve = ("serve", "--engine", "sim", "--gpu", "sim", "--port", str(self._port), "--idle-shutdown", _IDLE_WINDOW)
        arguments = (*serve, "--price", _PRICE, "--", *_ENGINE_ARGS)
        self._show(*serve, "--price", f"'{_PRICE}'", "--", *_ENGINE_ARGS)
        with self._daemon(arguments) as daemon:
            self._wait_until_open(daemon)
            self._costctl("status")
            client = self._openai.OpenAI(base_url=f"http://127.0.0.1:{self._port}/v1", api_key="unused", max_retries=0)
            self._plain(client)
            self._streamed(client)
            self._costctl("status")
            self._say(f"Send nothing more. After {_IDLE_WINDOW} without a request costctl stops the engine and exits.")
            self._wait_for_end(daemon)
        self._batch()
        self._say("Look at the bill: every second of both sessions has a phase and a price.")
        self._costctl("sessions")
        month = datetime.now(UTC).astimezone().strftime("%Y-%m")
        self._costctl("report", "--month", month, "--section", "summary,phases,batches")
        click.echo("\nThat is all. The daemon is gone, nothing was powered off, and nothing real was billed.")

    def _plain(self, client: Any) -> None:
        self._say("Send a request. No engine runs yet: costctl starts it and holds the request until it is ready.")
        began = time.monotonic()
        answer = client.chat.completions.create(model=_MODEL, messages=[{"role": "user", "content": "Hello?"}])
        click.echo(f"  answered after {time.monotonic() - began:.1f} s: {answer.choices[0].message.content}")

    def _streamed(self, client: Any) -> None:
        self._say("Send another and stream it. The engine is warm now: the first token comes at once.")
        began, first, count = time.monotonic(), None, 0
        stream = client.chat.completions.create(
            model=_MODEL, messages=[{"role": "user", "content": "And now?"}], stream=True, max_tokens=48
        )
        for chunk in stream:
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                first = first or time.monotonic() - began
                count += 1
        took = time.monotonic() - began
        click.echo(f"  first token after {1000 * (first or took):.0f} ms, {count} tokens in {took:.1f} s")

    def _batch(self) -> None:
        self._say(
            f"Run a file of {_LINES} requests. No daemon runs now: one is started for the file, and stopped after it."
        )
        (self._folder / "costctl.toml").write_text(_SETTINGS)
        lines = (json.dumps({"prompt": f"Say something about {number}.", "max_tokens": 48}) for number in range(_LINES))
        (self._folder / "jobs.jsonl").write_text("\n".join(lines) + "\n")
        self._costctl("batch", "jobs.jsonl")

    def _say(self, text: str) -> None:
        self._step += 1
        click.secho(f"\n{self._step}. {text}", bold=True)

    def _show(self, *arguments: str) -> None:
        click.secho(f"   $ costctl {' '.join(arguments)}", fg="cyan")

    def _costctl(self, *arguments: str) -> None:
        self._show(*arguments)
        sys.stdout.flush()
        command = [sys.executable, "-m", "costctl", *arguments]
        subprocess.run(command, cwd=self._folder, env=self._environment, stderr=sys.stdout, check=True)

    @contextmanager
    def _daemon(self, arguments: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
        sys.stdout.flush()
        command = [sys.executable, "-m", "costctl", *arguments]
        daemon = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stderr=sys.stdout)
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.terminate()
                daemon.wait()

    def _wait_until_open(self, daemon: subprocess.Popen[bytes]) -> None:
        while daemon.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise CostctlError("the daemon did not start; its last words are above")

    def _wait_for_end(self, daemon: subprocess.Popen[bytes]) -> None:
        try:
            code = daemon.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise CostctlError("the daemon did not stop by itself; it is ended now") from None
        click.echo(f"  the daemon ended by itself with exit code {code}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
