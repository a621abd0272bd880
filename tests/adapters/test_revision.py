from pathlib import Path

import pytest

from costctl.adapters.engines.kinds import CommandEngine, SimulatedEngine, VllmEngine
from costctl.adapters.engines.revision import engine_revision


@pytest.fixture
def environ(tmp_path):
    return {"HF_HOME": str(tmp_path / "hub-home"), "PATH": ""}


def sim(*arguments, model="org/name", folder="run"):
    return SimulatedEngine(model=model, arguments=arguments, runtime_folder=Path(folder), claims_folder=Path(folder))


def vllm(home, *, version="0.21.0"):
    """The command of a vLLM that is installed in `home`."""
    program = home / "bin" / "vllm"
    for folder in program.parent, home / "lib" / "python3.12" / "site-packages" / f"vllm-{version}.dist-info":
        folder.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!{home}/bin/python")
    return VllmEngine(model="org/name", arguments=(), program=(str(program),), runtime_folder=home)


def of_command(*command, folder):
    return CommandEngine(
        model="m", command=(*command, "{port}"), arguments=(), health_path="/health", runtime_folder=folder
    )


def test_it_is_the_command_line_and_not_where_it_runs(environ):
    first = engine_revision(sim("--max-model-len", "512"), environ)
    assert engine_revision(sim("--max-model-len", "512", folder="elsewhere"), environ) == first
    assert engine_revision(sim("--max-model-len", "513"), environ) != first
    assert engine_revision(sim("--quantization", "fp8"), environ) != first
    assert engine_revision(sim("--max-model-len", "512", model="org/other"), environ) != first


def test_another_version_of_vllm_is_another_revision_and_another_place_is_not(environ, tmp_path):
    first = engine_revision(vllm(tmp_path / "a"), environ)
    assert engine_revision(vllm(tmp_path / "b"), environ) == first
    assert engine_revision(vllm(tmp_path / "c", version="0.21.1"), environ) != first


def test_a_vllm_that_is_run_through_a_link_is_told_by_what_it_leads_to(environ, tmp_path):
    engine = vllm(tmp_path / "a")
    link = tmp_path / "bin" / "vllm"
    link.parent.mkdir()
    link.symlink_to(engine.program[0])
    linked = VllmEngine(model="org/name", arguments=(), program=(str(link),), runtime_folder=tmp_path)
    assert engine_revision(linked, environ) == engine_revision(engine, environ)


def test_another_program_is_told_by_its_file(environ, tmp_path):
    server = tmp_path / "bin" / "server"
    server.parent.mkdir()
    server.write_bytes(b"one")
    server.chmod(0o755)
    environ["PATH"] = str(server.parent)
    engine = of_command("server", folder=tmp_path)
    first = engine_revision(engine, environ)
    server.write_bytes(b"other")
    assert engine_revision(engine, environ) != first


@pytest.mark.parametrize("name", ["VLLM_USE_V1", "VLLM_ATTENTION_BACKEND", "LLAMA_ARG_MODEL", "NVIDIA_TF32_OVERRIDE"])
def test_the_settings_in_the_environment_count(environ, name):
    assert engine_revision(sim(), environ | {name: "1"}) != engine_revision(sim(), environ)


def test_a_file_that_the_environment_names_counts(environ, tmp_path):
    environ["LLAMA_ARG_MODEL"] = str(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"one")
    before = engine_revision(sim(), environ)
    (tmp_path / "model.gguf").write_bytes(b"other")
    assert engine_revision(sim(), environ) != before


@pytest.mark.parametrize("name", ["VLLM_API_KEY", "HF_TOKEN", "VLLM_LOGGING_LEVEL", "VLLM_CACHE_ROOT", "PWD"])
def test_neither_secrets_nor_places_do(environ, name):
    assert engine_revision(sim(), environ | {name: "1"}) == engine_revision(sim(), environ)


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
    command, folder = of_command("server", str(weights), folder=tmp_path), sim(model=str(tmp_path))
    before = engine_revision(command, environ), engine_revision(folder, environ)
    weights.write_bytes(b"other")
    assert engine_revision(command, environ) != before[0]
    assert engine_revision(folder, environ) != before[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--chat-template", "{}"),
        ("--chat-template={}",),
        ("--lora-modules", "sql={}", "chat=org/other"),
        ("--lora-modules", '{{"name": "sql", "path": "{}"}}'),
        ('--speculative-config={{"model": "{}", "num_speculative_tokens": 4}}',),
    ],
)
def test_a_file_that_is_named_within_an_argument_counts(environ, tmp_path, arguments):
    file = tmp_path / "file"
    file.write_text("one")
    engine = sim(*(argument.format(file) for argument in arguments))
    before = engine_revision(engine, environ)
    file.write_text("other")
    assert engine_revision(engine, environ) != before


@pytest.mark.parametrize("model", ["a\0b", "x" * 5000, "/", ""])
def test_any_word_is_taken_for_what_it_is(environ, model):
    assert engine_revision(sim(model=model), environ)
