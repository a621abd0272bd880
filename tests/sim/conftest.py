"""Simulated engines that leave nothing behind."""

import asyncio

import pytest
from running_sim import RunningSim


@pytest.fixture
def launch():
    """Start an engine: `launch("--fail", "oom")`."""
    sims = []

    def start(*arguments, **variables):
        sims.append(RunningSim(*arguments, environment=variables))
        return sims[-1]

    yield start
    for sim in sims:
        sim.dispose()


@pytest.fixture(scope="module")
def sim():
    """One engine for all tests of a module that change nothing in it."""
    shared = RunningSim("--model", "tiny", "--tokens-per-second", "0")
    asyncio.run(shared.ready())
    yield shared
    shared.dispose()


@pytest.fixture
async def client(sim):
    async with sim.session() as session:
        yield session
