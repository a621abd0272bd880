"""The option `--schema` of commands that print JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def schema_option(name: str) -> Callable[[Any], Any]:
    """Return an option that prints the JSON Schema `name`, whatever else was asked for."""

    def show(context: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - so click calls it
        if not asked or context.resilient_parsing:
            return
        from costctl.reports.schemas import schema_text

        click.echo(schema_text(name), nl=False)
        context.exit()

    return click.option(
        "--schema",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Print the JSON Schema of --json, and end.",
    )
