"""What vLLM prints when it cannot start, word for word where costctl has to recognise it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.failures import Kind

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.log import EngineLog
    from costctl.adapters.engines.sim.settings import Settings

GIB = 2**30
TOTAL_GIB = 14.58
"""A T4's memory as CUDA reports it."""
KV_BYTES_PER_TOKEN = 112 * 1024
"""Qwen3-1.7B: 2 x 28 layers x 8 heads x 128 x 2 bytes."""
ENGINE_DIED = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def say_core_failed(log: EngineLog, error: str, exit_code: int = 1) -> None:
    """Log an engine core that failed with `error`, and the API server that gave up because of it."""
    trace = _traceback("v1/engine/core.py", 1482, "run_engine_core", error)
    log.core("core.py:1510", f"EngineCore failed to start.\n{trace}", level="ERROR")
    log.raw(f"Process EngineCore:\n{trace}")
    say_core_gone(log, exit_code)


def say_core_gone(log: EngineLog, exit_code: int) -> None:
    """Log the API server that gave up because the engine core did not start."""
    reason = f"See root cause above. Failed core proc(s): {{'EngineCore': {exit_code}}}"
    error = f"RuntimeError: Engine core initialization failed. {reason}"
    log.raw(_traceback("v1/engine/utils.py", 1431, "wait_for_engine_startup", error))


def say_core_died(log: EngineLog, *, crashed: bool) -> None:
    """Log an engine core that died while serving: of a CUDA error, or without a word, as when it is killed."""
    if crashed:
        error = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"
        trace = _traceback("v1/engine/core.py", 1500, "run_busy_loop", error)
        log.core("core.py:1512", f"EngineCore encountered a fatal error.\n{trace}", level="ERROR")
    words = "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup"
    log.api("core_client.py:817", words, level="WARNING")
    error = f"vllm.v1.engine.exceptions.EngineDeadError: {ENGINE_DIED}"
    log.api("async_llm.py:906", f"AsyncLLM output_handler failed.\n{error}", level="ERROR")


def say_api_server_failed(log: EngineLog, error: str) -> None:
    """Log an API server that failed with `error` before it had an engine core."""
    log.raw(_traceback("entrypoints/launchers/api_server/entry.py", 177, "run_server", error))


def error_of(kind: Kind, settings: Settings) -> str:
    """Return the exception that vLLM raises for `kind`, as the last lines of its traceback show it."""
    return _ERRORS[kind](settings)


def _too_little_free(settings: Settings) -> str:
    share = settings.gpu_memory_utilization
    free, wanted = TOTAL_GIB * share / 2, TOTAL_GIB * share
    return (
        f"ValueError: Free memory on device cuda:0 ({free:.2f}/{TOTAL_GIB} GiB) on startup is less than desired GPU "
        f"memory utilization ({share}, {wanted:.2f} GiB). Decrease GPU memory utilization or reduce GPU memory used by "
        "other processes."
    )


def _cuda_out_of_memory(_settings: Settings) -> str:
    return (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 0 has a total capacity of "
        f"{TOTAL_GIB} GiB of which 203.56 MiB is free. Including non-PyTorch memory, this process has 14.37 GiB "
        "memory in use. Of the allocated memory 14.22 GiB is allocated by PyTorch, and 18.57 MiB is reserved by "
        "PyTorch but unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


def _context_too_long(settings: Settings) -> str:
    longest = settings.failures.number(Kind.KV) or settings.max_model_len
    needed, available = (tokens * KV_BYTES_PER_TOKEN / GIB for tokens in (settings.max_model_len, longest))
    return (
        f"ValueError: To serve at least one request with the model's max seq len ({settings.max_model_len}), "
        f"({needed:.2f} GiB KV cache is needed, which is larger than the available KV cache memory "
        f"({available:.2f} GiB). Based on the available memory, the estimated maximum model length is {longest}. "
        "Try increasing `gpu_memory_utilization` (which also controls CPU memory on the CPU backend) or decreasing "
        "`max_model_len` when initializing the engine. "
        "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."
    )


def _no_such_model(settings: Settings) -> str:
    name = settings.model
    if name.count("/") > 1 or name.startswith((".", "/")):
        return (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            f"'namespace/repo_name': '{name}'. Use `repo_type` argument if needed."
        )
    return (
        f"OSError: {name} is not a local folder and is not a valid model identifier listed on "
        "'https://huggingface.co/models'\nIf this is a private repository, make sure to pass a token having permission "
        "to this repo either by logging in with `hf auth login` or by passing `token=<your_token>`"
    )


def _gated_model(settings: Settings) -> str:
    page = f"https://huggingface.co/{settings.model}"
    refusal = (
        "403 Client Error. (Request ID: Root=1-00000000-simulated)\n\n"
        f"Cannot access gated repo for url {page}/resolve/main/config.json.\n"
        f"Access to model {settings.model} is restricted and you are not in the authorized list. "
        f"Visit {page} to ask for access."
    )
    return (
        f"huggingface_hub.errors.GatedRepoError: {refusal}\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        f"OSError: You are trying to access a gated repo.\nMake sure to have access to it at {page}.\n{refusal}"
    )


def _old_driver(_settings: Settings) -> str:
    return (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU "
        "driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx "
        "Alternatively, go to: https://pytorch.org to install a PyTorch version that has been compiled with your "
        "version of the CUDA driver."
    )


def _port_taken(_settings: Settings) -> str:
    return "OSError: [Errno 98] Address already in use"


_ERRORS = {
    Kind.OOM: _too_little_free,
    Kind.CUDA_OOM: _cuda_out_of_memory,
    Kind.KV: _context_too_long,
    Kind.MODEL: _no_such_model,
    Kind.GATED: _gated_model,
    Kind.DRIVER: _old_driver,
    Kind.PORT: _port_taken,
}


def _traceback(file: str, line: int, function: str, error: str) -> str:
    return f'Traceback (most recent call last):\n  File "vllm/{file}", line {line}, in {function}\n{error}'
