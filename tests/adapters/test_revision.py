from pathlib import Path

import pytest

from costctl.adapters.engines.kinds import CommandEngine, SimulatedEngine
from costctl.adapters.engines.revision import engine_revision


@pytest.fixture
def environ(tmp_path):
    return {"HF_HOME": str(tmp_path / "hub-home")}


def sim(*arguments, model="org/name", folder="run"):
    return SimulatedEngine(model=model, arguments=arguments, runtime_folder=Path(folder), claims_folder=Path(folder))


def test_it_is_the_command_line_and_not_where_it_runs(environ):
    first = engine_revision(sim("--max-model-len", "512"), environ)
    assert engine_revision(sim("--max-model-len", "512", folder="elsewhere"), environ) == first
    assert engine_revision(sim("--max-model-len", "513"), environ) != first
    assert engine_revision(sim("--max-model-len", "512", model="org/other"), environ) != first


def test_another_commit_of_the_model_is_another_revision(environ, tmp_path):
    before = engine_revision(sim(), environ)
    ref = tmp_path / "hub-home" / "hub" / "models--org--name" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text("aaaa")
    first = engine_revision(sim(), environ)
    ref.write_text("bbbb")
    assert len({before, first, engine_revision(sim(), environ)}) == 3


def test_other_weights_in_the_same_place_are_another_revision(environ, tmp_path):
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"one")
    command = CommandEngine(
        model="m",
        command=("server", str(weights), "{port}"),
        arguments=(),
        health_path="/health",
        runtime_folder=tmp_path,
    )
    folder = sim(model=str(tmp_path))
    before = engine_revision(command, environ), engine_revision(folder, environ)
    weights.write_bytes(b"other")
    assert engine_revision(command, environ) != before[0]
    assert engine_revision(folder, environ) != before[1]


@pytest.mark.parametrize("model", ["a\0b", "x" * 5000, "/", ""])
def test_any_word_is_taken_for_what_it_is(environ, model):
    assert engine_revision(sim(model=model), environ)
