"""`costctl serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from costctl.config.settings import SETTINGS, Setting
from costctl.wiring import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

_GROUPS = {"engine": "Engine", "door": "Front door", "idle": "Idleness", "money": "Money"}
_NO_OPTIONS = ("engine-args", "api-keys", "time-zone")  # arguments; a secret; nothing that the daemon looks at
_EPILOG = """\b
Examples:
  costctl serve --idle-shutdown 30m
  costctl serve --model Qwen/Qwen3-8B --price '1.8 CNY/h' --on-idle poweroff -- --max-model-len 8192
  costctl serve --engine command --engine-command 'llama-server -m model.gguf --port {port}'
  costctl serve --engine sim --gpu sim --idle-shutdown 5s -- --start-seconds 2 --tokens-per-second 500

Arguments after -- go to the engine. Every option can also be set in costctl.toml or as COSTCTL_NAME.
"""


class _GroupedCommand(click.Command):
    """A command whose options are shown in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in (*_GROUPS.values(), "Daemon")}
        by_name = {setting.field: _GROUPS[setting.group] for setting in SETTINGS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups[by_name.get(param.name or "", "Daemon")].append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for setting in reversed(SETTINGS):
        if setting.name not in _NO_OPTIONS:
            command = _option(setting)(command)
    return command


def _option(setting: Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    names = (f"--{setting.name}", setting.field)
    text = setting.help
    if setting.flag:
        return click.option(*names, is_flag=True, default=None, help=text)
    if setting.default not in (None, ()):
        text = f"{text}  [default: {setting.default}]"
    return click.option(*names, default=None, metavar=setting.metavar, help=text)


@click.command(cls=_GroupedCommand, epilog=_EPILOG, context_settings={"ignore_unknown_options": False})
@_options
@click.option("--engine-arg", "engine_arg", multiple=True, metavar="ARG", help="One more argument for the engine.")
@click.option("--detach", is_flag=True, help="Run in the background and return when the front door is open.")
@click.argument("engine_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ENGINE ARGS]")
def serve(*, engine_arg: tuple[str, ...], detach: bool, engine_args: tuple[str, ...], **flags: Any) -> None:
    """Run the daemon in the foreground: an OpenAI-compatible front door with the engine started on demand.

    The first inference request starts the engine and waits for it. After the idle window the engine is stopped and
    --on-idle happens; probes, metrics scrapes and model listings neither wake it nor keep it awake.
    """
    given = {setting.name: flags.get(setting.field) for setting in SETTINGS}
    given["engine-args"] = (*engine_arg, *engine_args)
    settings = load_settings(given).settings
    from costctl.cli.client import home
    from costctl.wiring.plan import make_plan

    plan = make_plan(settings, home())
    if detach:
        from costctl.cli.detach import start_in_background

        for line in plan.lines():
            click.echo(line, err=True)
        start_in_background(home())
        return
    from costctl.wiring.daemon import serve as run_daemon

    run_daemon(plan)
