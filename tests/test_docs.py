"""What README says people can type is understood, and what it names exists."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import click
import pytest

from costctl.cli.root import COMMANDS, cli

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text()


def commands():
    """Every `costctl ...` in README: whole lines of code blocks, and code within the text."""
    lines = [line.strip().removeprefix("$ ") for line in README.splitlines()]
    known = tuple(f"costctl {name}" for name in COMMANDS)
    found = [line for line in lines if line.startswith(known) and not line.endswith("...")]
    found += [" ".join(words.split()) for words in re.findall(r"`(costctl\s[a-z][^`]*)`", README)]
    return sorted({line.partition("  #")[0].removesuffix(" --help").strip() for line in found})


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_readme_is_understood(line):
    _, *arguments = shlex.split(line)
    command = cli
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(click.Context(command), arguments)
    with contextlib.suppress(click.exceptions.Exit):  # an option that prints something, and that is all
        command.make_context(name, arguments)


def test_the_readme_was_searched():
    assert len(commands()) >= 8


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "DESIGN.md", "benchmarks/README.md", "catalog/README.md"]
)
def test_links_lead_somewhere(document):
    folder = (CHECKOUT / document).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", (CHECKOUT / document).read_text()):
        assert (folder / target).exists(), f"{document} links to {target}"


def test_make_targets_named_in_the_documents_exist():
    makefile = (CHECKOUT / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"(?:`|^ {4})make ([a-z-]+)", (CHECKOUT / document).read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document} names make {target}"
