"""The daemon that a batch goes through: the one that runs, else one of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from costctl.cli.client import ask, home
from costctl.domain.batches import Then
from costctl.errors import DaemonError, DaemonNotRunningError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from costctl.cli.own_daemon import OwnDaemon
    from costctl.wiring.batch import Order

_OWN_IDLE_WINDOW = "60s"
"""A daemon that was started for a batch ends so soon if the batch is killed, unless it is taken up again."""


def read_status() -> dict[str, Any] | None:
    """Return the daemon's status, None if none runs."""
    try:
        status: dict[str, Any] = ask("GET", "/status")
    except DaemonNotRunningError:
        return None
    return status


def served_model(status: Mapping[str, Any] | None, engine_args: Sequence[str]) -> str:
    """Return the model that the engine serves, or would."""
    if status is not None:
        return str(status["model"])
    from costctl.wiring.batch import served_model

    return served_model(engine_args)


def pass_on_warnings() -> None:
    """Say what the daemon would say if it was asked, such as that the ledger's disk is full."""
    try:
        status = read_status()
    except DaemonError:
        return
    for warning in status["warnings"] if status else ():
        say(warning)


def daemon_for(order: Order, engine_args: Sequence[str]) -> AbstractContextManager[OwnDaemon | None]:
    """Return the daemon to have meanwhile: the one that runs (None), else one of one's own.

    Raises:
        EngineStartError: on entering: there is none, and it cannot be started.
    """
    status = read_status()
    if status is None:
        return _own_daemon(order, engine_args)
    _warn(order, status, engine_args)
    return nullcontext()


def _warn(order: Order, status: Mapping[str, Any], engine_args: Sequence[str]) -> None:
    others = [model for model in order.checked.models if model != status["model"]]
    if others:
        say(f"the engine serves {status['model']}; lines for {', '.join(others)} will fail if it has no such model")
    if engine_args:
        say("a daemon runs already: the arguments for the engine are not used")


def _own_daemon(order: Order, engine_args: Sequence[str]) -> AbstractContextManager[OwnDaemon | None]:
    from costctl.cli.own_daemon import own_daemon
    from costctl.wiring import load_settings

    resolved = load_settings({})
    arguments = ["--no-listen"]
    if resolved.origins["model"].place == "default":
        arguments += ["--model", order.checked.models[0]]
    if order.wish.then is not Then.SHUTDOWN:
        arguments += ["--on-idle", "exit", "--idle-shutdown", _OWN_IDLE_WINDOW]
    elif not resolved.settings.stops_instance:
        arguments += ["--on-idle", "poweroff"]
    if engine_args:
        arguments += ["--", *engine_args]
    say("no daemon runs: one is started for this batch")
    return own_daemon(home(), arguments)


def say(text: str) -> None:
    """Tell the person, beside the data on standard output."""
    click.echo(f"costctl: {text}", err=True)
