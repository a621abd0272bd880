"""Front doors that leave nothing behind, on the event loop that the daemon uses."""

import pytest
import uvloop
from running_door import Door, ScriptedEngine


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
async def open_door(engine):
    """Open a front door: `await open_door(most_waiting=1)`; afterwards nothing may be in flight."""
    doors = []

    async def start(*, api_key=None, ready=True, **options):
        door = Door(engine.plan(api_key=api_key), warm=ready, **options)
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
async def door(open_door):
    return await open_door()
