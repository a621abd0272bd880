"""`costctl config`."""

from __future__ import annotations

import json

import click


@click.group()
def config() -> None:
    """Look at the settings: flags over COSTCTL_* variables over costctl.toml over defaults."""


@config.command(epilog="\b\nExamples:\n  costctl config show\n  COSTCTL_IDLE_SHUTDOWN=10m costctl config show --json")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def show(*, as_json: bool) -> None:
    """Show every setting with its value and where it came from. Secrets are not shown."""
    from costctl.config.settings import SETTINGS
    from costctl.wiring import load_settings

    resolved = load_settings({})
    rows = []
    for setting in SETTINGS:
        origin = resolved.origins[setting.name]
        value = setting.shown(origin.raw)
        rows.append({"name": setting.name, "value": value, "from": origin.place, "variable": setting.variable})
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<16} {row['value'] or '-':<24} {row['from']}")
