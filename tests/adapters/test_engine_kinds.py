import sys

import pytest

from costctl.adapters.engines.kinds import (
    CommandEngine,
    SimulatedEngine,
    VllmEngine,
    find_vllm,
    refuse_own_arguments,
    served_name,
)
from costctl.errors import BadValueError, MissingPieceError


def vllm(folder, *arguments, capability=(8, 6)):
    return VllmEngine(
        model="Qwen/Qwen3-1.7B",
        arguments=arguments,
        program=("vllm",),
        runtime_folder=folder,
        compute_capability=capability,
    )


def command(folder, *words, arguments=()):
    return CommandEngine(model="tiny", command=words, arguments=arguments, health_path="/ready", runtime_folder=folder)


# --- vLLM ------------------------------------------------------------------------------------------------------------


def test_vllm_listens_on_a_private_socket(tmp_path):
    plan = vllm(tmp_path).plan()
    assert plan.endpoint.uds == str(tmp_path / "engine.sock")
    assert plan.argv == (
        *("vllm", "serve", "Qwen/Qwen3-1.7B", "--uds", str(tmp_path / "engine.sock")),
        "--disable-uvicorn-access-log",
    )
    assert (plan.kind, plan.model, plan.health_path) == ("vllm", "Qwen/Qwen3-1.7B", "/health")


def test_what_the_last_run_left_is_cleared(tmp_path):
    (tmp_path / "engine.sock").touch()
    (tmp_path / "rpc").mkdir()
    (tmp_path / "rpc" / "stale").touch()
    plan = vllm(tmp_path).plan()
    assert not (tmp_path / "engine.sock").exists()
    assert list((tmp_path / "rpc").iterdir()) == []
    assert plan.environment["VLLM_RPC_BASE_PATH"] == str(tmp_path / "rpc")
    assert plan.environment["VLLM_NO_USAGE_STATS"] == "1"


def test_a_persons_arguments_come_last_and_replace_defaults(tmp_path):
    plan = vllm(tmp_path, "--max-model-len", "4096", "--disable-uvicorn-access-log").plan()
    assert plan.argv[5:] == ("--max-model-len", "4096", "--disable-uvicorn-access-log")


def test_a_t4_gets_what_it_can_do_unless_a_person_says_otherwise(tmp_path):
    assert vllm(tmp_path, capability=(7, 5)).plan().argv[6:] == (
        *("--dtype", "half", "--attention-backend", "TRITON_ATTN"),
    )
    assert vllm(tmp_path, "--dtype=float32", capability=(7, 5)).plan().argv[6:] == (
        *("--attention-backend", "TRITON_ATTN", "--dtype=float32"),
    )


def test_clients_say_the_served_name(tmp_path):
    assert vllm(tmp_path, "--served-model-name", "small", "other").plan().model == "small"
    assert command(tmp_path, "vllm", "{port}", arguments=("--served-model-name=small",)).plan().model == "small"
    assert served_name(["--served-model-name=small"]) == "small"
    assert served_name(["--served-model-name"]) is None
    assert served_name([]) is None


@pytest.mark.parametrize(
    "argument", ["--host", "--port=9", "--uds", "--ssl-keyfile", "--root-path", "--api-key", "--api-key=x"]
)
def test_where_the_engine_listens_is_not_a_persons_business(tmp_path, argument):
    with pytest.raises(BadValueError):
        refuse_own_arguments([argument])
    with pytest.raises(BadValueError):
        vllm(tmp_path, argument)


def test_a_key_on_the_command_line_is_refused_without_repeating_it(tmp_path):
    with pytest.raises(BadValueError) as caught:
        vllm(tmp_path, "--api-key=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "--api-key-file" in str(caught.value)


def test_a_named_vllm_has_to_be_a_program(tmp_path):
    assert find_vllm(sys.executable) == (sys.executable,)
    with pytest.raises(MissingPieceError, match="not a program that can be run"):
        find_vllm(str(tmp_path / "none"))


# --- other servers ---------------------------------------------------------------------------------------------------


def test_any_server_is_told_its_port_and_model(tmp_path):
    plan = command(tmp_path, "serve", "--at", "127.0.0.1:{port}", "{model}", arguments=("-v",)).plan()
    assert plan.argv == ("serve", "--at", f"127.0.0.1:{plan.endpoint.port}", "tiny", "-v")
    assert (plan.kind, plan.health_path) == ("command", "/ready")


def test_every_launch_takes_a_port_that_is_free(tmp_path):
    assert 0 < command(tmp_path, "serve", "{port}").plan().endpoint.port < 65536


def test_a_server_may_listen_on_a_socket(tmp_path):
    plan = command(tmp_path, "serve", "{uds}").plan()
    assert plan.argv[1] == plan.endpoint.uds == str(tmp_path / "engine.sock")


@pytest.mark.parametrize("words", [("serve",), ("serve", "{port}", "{uds}")])
def test_a_server_has_to_be_told_where_to_listen(tmp_path, words):
    with pytest.raises(BadValueError, match=r"either \{port\} or \{uds\}"):
        command(tmp_path, *words)


def test_what_is_filled_in_is_not_filled_in_again(tmp_path):
    engine = CommandEngine(
        model="odd-{port}", command=("s", "{port}", "{model}"), arguments=(), health_path="/", runtime_folder=tmp_path
    )
    assert engine.plan().argv[2] == "odd-{port}"


def test_the_simulated_engine_claims_its_memory_on_the_simulated_gpu(tmp_path):
    engine = SimulatedEngine(
        model="tiny", arguments=("--tokens-per-second", "0"), runtime_folder=tmp_path, claims_folder=tmp_path / "gpu"
    )
    plan = engine.plan()
    assert plan.argv[0] == sys.executable
    assert plan.argv[-2:] == ("--tokens-per-second", "0")
    assert plan.environment == {"COSTCTL_SIM_GPU": str(tmp_path / "gpu")}
