"""Front doors that leave nothing behind, on the event loop that the daemon uses."""

import pytest
import uvloop
from running_door import Door
from scripted_engine import ScriptedEngine


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def engine():
    scripted = ScriptedEngine()
    await scripted.listen()
    yield scripted
    await scripted.close()
    assert not scripted.failures


@pytest.fixture
async def open_plan():
    """Open a front door before the engine of a plan; afterwards nothing may be in flight."""
    doors = []

    async def start(plan, *, ready=True, **options):
        door = Door(plan, warm=ready, **options)
        doors.append(door)
        await door.open()
        if ready:
            await door.start_engine()
        return door

    yield start
    for door in doors:
        await door.quiet()
        await door.close()


@pytest.fixture
async def open_door(open_plan, engine):
    """Open a front door before the scripted engine: `await open_door(most_waiting=1)`."""

    async def start(*, api_key=None, **options):
        return await open_plan(engine.plan(api_key=api_key), **options)

    return start


@pytest.fixture
async def door(open_door):
    return await open_door()
