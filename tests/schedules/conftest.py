"""Ledgers, and machines with schedules."""

import asyncio
import shutil

import pytest
from fakes.clock import InlineThreads, settle
from night import Night

from costctl.ledger.store import Ledger


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory):
    """A migrated ledger to copy: quicker than migrating one for each test."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def url(tmp_path, empty_ledger):
    return f"sqlite:///{shutil.copy(empty_ledger, tmp_path / 'ledger.db')}"


@pytest.fixture
def ledger(url):
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture
async def night(ledger):
    asyncio.get_running_loop().set_default_executor(InlineThreads())
    made = Night(ledger)
    yield made
    for command in made.commands.started:
        command.end()
    if hasattr(made, "watching"):
        await made.die()
    await settle()
