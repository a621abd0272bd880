"""The root of the command line. Every command is imported only when it is used."""

from __future__ import annotations

import os
from typing import Any

import click

from costctl import __version__
from costctl.errors import CostctlError

# Name, and the line that `costctl --help` shows; the command is `NAME` (with _ for -) in costctl/cli/NAME.py.
COMMANDS = {
    "serve": "Run the daemon: front door, engine on demand, idle policy.",
    "status": "Show state, idle countdown and why, cost so far, GPU.",
    "stop": "Stop the daemon, or only its engine.",
    "batch": "Send a file of requests through the engine.",
    "schedule": "Run a command of costctl every night, or whenever you say.",
    "sessions": "List the billed sessions.",
    "report": "Show what a month cost, and how much of it was wasted.",
    "compare": "Compare GPUs, before renting one or for a month that was.",
    "benchmarks": "Import what was measured on other GPUs.",
    "prices": "Look up prices, set your own, explain which one a machine gets.",
    "billing": "Explain a session's bill, and the rules of providers.",
    "reconcile": "Compare the ledger with a provider's invoice.",
    "cache": "Show what the cache of answers holds, or empty it.",
    "logs": "Show the engine's log.",
    "config": "Show the settings and where each comes from.",
    "demo": "See it all once, with a simulated engine; nothing is powered off.",
}
_EXAMPLES = """\b
Examples:
  costctl serve --idle-shutdown 30m
  costctl serve --model Qwen/Qwen3-8B --price '1.8 CNY/h' --on-idle poweroff
  costctl status
  costctl report --month 2026-01
"""


class _LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's shape
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's shape
        if cmd_name not in COMMANDS:
            return None
        command = getattr(__import__(f"costctl.cli.{cmd_name}", fromlist=[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - a mistake of ours, not of the user
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; `costctl sessions | head` is done when its reader is, which click takes for a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more may be written, at exit either
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="costctl")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--home", metavar="FOLDER", help="Folder of costctl's state (COSTCTL_HOME).")
@click.option("--config", "config_file", metavar="FILE", help="Settings file (COSTCTL_CONFIG, else costctl.toml).")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool, home: str | None, config_file: str | None) -> None:
    """Start vLLM on the first request, shut the rented GPU down when it is idle, and know what every second cost."""
    ctx.obj = {"debug": debug}
    if home:
        os.environ["COSTCTL_HOME"] = home
    if config_file:
        os.environ["COSTCTL_CONFIG"] = config_file


def run(*, debug: bool) -> int:
    """Run the command line and return the exit code; errors become one line on standard error."""
    try:
        code = cli.main(prog_name="costctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if debug:
            raise
        click.echo(f"costctl: {_in_words(error)}", err=True)
        return error.exit_code if isinstance(error, CostctlError) else 1
    return code if isinstance(code, int) else 0


def _in_words(error: Exception) -> str:
    if isinstance(error, CostctlError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    fault = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"a fault of its own ({fault}): `costctl --debug ...` shows where, please report it"
