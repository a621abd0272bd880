from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.diagnosis import diagnose
from costctl.domain.failures import FailureKind as Kind

LOGS = Path(__file__).parent.parent / "data" / "vllm_logs"
WRAPPED = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"


def of_log(name, *, exit_code=1, ready=False):
    return diagnose((LOGS / f"{name}.log").read_text().splitlines(), exit_code=exit_code, signal=None, ready=ready)


def of_line(line):
    core = f"\x1b[0;36m(EngineCore pid=77)\x1b[0;0m ERROR 11-21 10:00:41 [core.py:1100] {line}"
    return diagnose([core, WRAPPED], exit_code=1, signal=None, ready=False)


@pytest.mark.parametrize(
    ("name", "exit_code", "kind", "words"),
    [
        ("offline-model", 1, Kind.MODEL_NOT_DOWNLOADED, "HF_HUB_OFFLINE"),
        ("no-such-folder", 1, Kind.MODEL_NOT_FOUND, "no folder /models/nosuchmodel"),
        ("model-not-found", 1, Kind.MODEL_NOT_FOUND, "no model acme/nothere-7b"),
        ("gated-model", 1, Kind.GATED_MODEL, "gated"),
        ("bad-token", 1, Kind.BAD_HF_TOKEN, "token was refused"),
        ("no-network", 1, Kind.NO_NETWORK, "network"),
        ("unknown-flag", 2, Kind.BAD_ARGUMENT, "unrecognized arguments: --max-model-length-of 5"),
        ("bad-value", 2, Kind.BAD_ARGUMENT, "invalid choice: 'float12'"),
        ("sleep-mode-on-cpu", 1, Kind.BAD_ARGUMENT, "Sleep mode is not supported on current platform."),
        ("context-beyond-model", 1, Kind.CONTEXT_TOO_LONG, "900000 tokens is longer"),
        ("kv-too-small", 1, Kind.CONTEXT_TOO_LONG, "4000000 tokens needs 1.91 GiB"),
        ("port-in-use", 1, Kind.PORT_IN_USE, "taken"),
        ("unknown-architecture", 1, Kind.ARCHITECTURE_UNSUPPORTED, "Bloomzilla9ForCausalLM"),
        ("cut-weights", 1, Kind.DAMAGED_WEIGHTS, "damaged"),
        ("core-killed-at-start", 1, Kind.HOST_OUT_OF_MEMORY, "signal 9"),
    ],
)
def test_real_starts_that_failed(name, exit_code, kind, words):
    diagnosis = of_log(name, exit_code=exit_code)
    assert diagnosis.kind is kind
    assert words in diagnosis.summary
    assert diagnosis.advice
    assert 1 <= len(diagnosis.evidence) <= 3
    assert not any(line.startswith("(") for line in diagnosis.evidence)


def test_a_real_engine_core_that_died_while_serving():
    diagnosis = of_log("core-killed-serving", exit_code=0, ready=True)
    assert diagnosis.kind is Kind.ENGINE_CORE_DIED
    assert "EngineDeadError" in diagnosis.evidence[-1]


def test_a_real_stop_by_signal_is_no_failure():
    assert of_log("sigterm-idle", exit_code=0, ready=True).kind is Kind.STOPPED


def test_the_context_that_fits_is_suggested_with_some_slack():
    assert of_log("kv-too-small").suggested_args == ("--max-model-len", "2096896")
    assert of_log("context-beyond-model").suggested_args == ("--max-model-len", "8192")


def test_the_wording_of_vllm_0_21_is_known_too():
    diagnosis = of_line(
        "ValueError: To serve at least one request with the models's max seq len (40960), (4.38 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (2.2 GiB). Based on the available memory, the "
        "estimated maximum model length is 20560. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`"
    )
    assert diagnosis.kind is Kind.CONTEXT_TOO_LONG
    assert diagnosis.suggested_args == ("--max-model-len", "20480")
    assert "--max-model-len 20480" in diagnosis.advice


def test_no_estimate_no_suggestion():
    diagnosis = of_line(
        "ValueError: To serve at least one request with the model's max seq len (8192), (9.0 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.01 GiB). Try increasing `gpu_memory_utilization`"
    )
    assert diagnosis.kind is Kind.CONTEXT_TOO_LONG
    assert diagnosis.suggested_args == ()


def test_gpu_memory_that_others_hold():
    said = (
        "ValueError: Free memory on device cuda:0 ({}/{} GiB) on startup is less than desired GPU memory utilization "
        "(0.92, {} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
    )
    shared = of_line(said.format("13.5", "22.06", "20.3"))
    assert shared.kind is Kind.GPU_MEMORY_IN_USE
    assert shared.suggested_args == ("--gpu-memory-utilization", "0.59")
    full = of_line(said.format("0.72", "22.06", "20.3"))
    assert full.suggested_args == ()
    assert "nvidia-smi" in full.advice


def test_running_out_of_gpu_memory_is_told_apart_by_when():
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 14.56 GiB"
    loaded = "(EngineCore pid=77) INFO 11-21 10:00:41 [m.py:1] Model loading took 12.1 GiB memory and 9.1 seconds"
    assert "while the weights were loaded" in of_line(oom).summary
    later = diagnose([loaded, oom], exit_code=1, signal=None, ready=False)
    assert later.kind is Kind.CUDA_OOM
    assert "--max-num-seqs" in later.suggested_args


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            Kind.NO_KV_MEMORY,
        ),
        ("AssertionError: Error in memory profiling. Initial free memory 20.1 GiB", Kind.GPU_MEMORY_IN_USE),
        (
            "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU",
            Kind.BF16_UNSUPPORTED,
        ),
        (
            "ValueError: The model type 'gemma3' does not support float16. Reason: Numerical instability",
            Kind.DTYPE_UNSUPPORTED,
        ),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update",
            Kind.DRIVER_TOO_OLD,
        ),
        ("RuntimeError: No CUDA GPUs are available", Kind.NO_GPU),
        ("RuntimeError: Failed to infer device type, please set the environment variable", Kind.NO_GPU),
        ("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", Kind.GPU_FAULT),
        ("OSError: [Errno 28] No space left on device", Kind.DISK_FULL),
        ("OSError: [Errno 28] No space left on device: '/psm_1a2b'", Kind.SHARED_MEMORY_TOO_SMALL),
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory",
            Kind.HOST_OUT_OF_MEMORY,
        ),
        (
            "ValueError: Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
            Kind.NEEDS_REMOTE_CODE,
        ),
        (
            "ValueError: The quantization method mxfp4 is not supported for the current GPU. Minimum capability: 80.",
            Kind.QUANTIZATION_UNSUPPORTED,
        ),
        (
            "TimeoutError: Timed out waiting for engine core processes to start. This is often [...]. Waited 600s (",
            Kind.TIMEOUT,
        ),
        (
            "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
            Kind.BROKEN_INSTALL,
        ),
    ],
)
def test_what_this_machine_cannot_reproduce(line, kind):
    diagnosis = of_line(line)
    assert diagnosis.kind is kind
    assert diagnosis.evidence == (line,)


def test_the_number_format_that_the_weights_need_is_suggested():
    diagnosis = of_line(
        "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]"
    )
    assert diagnosis.suggested_args == ("--dtype", "half")


def test_an_unknown_cause_is_the_last_exception_that_is_not_a_consequence():
    lines = ["ValueError: the first", "KeyError: 'model.layers.0.bias'", WRAPPED, "nanobind: leaked 514 functions!"]
    diagnosis = diagnose(lines, exit_code=1, signal=None, ready=False)
    assert diagnosis.kind is Kind.UNKNOWN
    assert diagnosis.evidence == ("KeyError: 'model.layers.0.bias'",)
    assert "model.layers.0.bias" in diagnosis.summary


def test_warnings_and_source_code_are_no_evidence():
    lines = [
        "(APIServer pid=1) WARNING 11-22 02:26:56 [u.py:255] errors like `OSError: [Errno 28] No space left on device`",
        "(APIServer pid=1) ERROR 11-22 02:26:56 [u.py:255]     raise ValueError('No CUDA GPUs are available')",
    ]
    assert diagnose(lines, exit_code=1, signal=None, ready=False).kind is Kind.UNKNOWN


def test_a_refused_request_does_not_explain_the_death_of_a_serving_engine():
    lines = ["Value error, temperature must be non-negative", "RuntimeError: CUDA error: unspecified launch failure"]
    assert diagnose(lines, exit_code=0, signal=None, ready=True).kind is Kind.GPU_FAULT
    assert diagnose(lines[:1], exit_code=0, signal=None, ready=True).kind is Kind.EXITED_ZERO


@pytest.mark.parametrize(
    ("signal", "kind"),
    [
        (9, Kind.HOST_OUT_OF_MEMORY),
        (7, Kind.SHARED_MEMORY_TOO_SMALL),
        (15, Kind.STOPPED),
        (2, Kind.STOPPED),
        (11, Kind.UNKNOWN),
        (64, Kind.UNKNOWN),
    ],
)
def test_silent_ends_by_signal(signal, kind):
    diagnosis = diagnose([], exit_code=None, signal=signal, ready=True)
    assert diagnosis.kind is kind
    assert str(signal) in diagnosis.summary


def test_silent_ends_by_exit_code():
    assert diagnose([], exit_code=0, signal=None, ready=False).kind is Kind.EXITED_ZERO
    assert "exit code 3" in diagnose(["hello"], exit_code=3, signal=None, ready=False).summary


_CODES = st.none() | st.integers(0, 255)


@given(st.lists(st.text(max_size=200), max_size=20), _CODES, st.none() | st.integers(1, 64), st.booleans())
def test_garbage_never_raises(lines, exit_code, signal, ready):
    diagnosis = diagnose(lines, exit_code=exit_code, signal=signal, ready=ready)
    assert diagnosis.summary
    assert "\n" not in diagnosis.summary
    assert len(diagnosis.evidence) <= 3
