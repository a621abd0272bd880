"""How engines fail: every cause that costctl knows by the words in the log, with words for people.

The wording is that of vLLM 0.21 and 0.32, of huggingface_hub and of torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MORE_SHARED_MEMORY = "in a container, start it with --shm-size=8g or --ipc=host"


class FailureKind(StrEnum):
    """What kind of failure it was."""

    GPU_MEMORY_IN_USE = "gpu_memory_in_use"
    CONTEXT_TOO_LONG = "context_too_long"
    NO_KV_MEMORY = "no_kv_memory"
    CUDA_OOM = "cuda_oom"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    SHARED_MEMORY_TOO_SMALL = "shared_memory_too_small"
    DISK_FULL = "disk_full"
    GATED_MODEL = "gated_model"
    BAD_HF_TOKEN = "bad_hf_token"  # noqa: S105 - the name of a failure
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_NOT_DOWNLOADED = "model_not_downloaded"
    NO_NETWORK = "no_network"
    DAMAGED_WEIGHTS = "damaged_weights"
    ARCHITECTURE_UNSUPPORTED = "architecture_unsupported"
    NEEDS_REMOTE_CODE = "needs_remote_code"
    BF16_UNSUPPORTED = "bf16_unsupported"
    DTYPE_UNSUPPORTED = "dtype_unsupported"
    QUANTIZATION_UNSUPPORTED = "quantization_unsupported"
    DRIVER_TOO_OLD = "driver_too_old"
    NO_GPU = "no_gpu"
    GPU_FAULT = "gpu_fault"
    PORT_IN_USE = "port_in_use"
    BAD_ARGUMENT = "bad_argument"
    BROKEN_INSTALL = "broken_install"
    TIMEOUT = "timeout"
    ENGINE_CORE_DIED = "engine_core_died"
    STOPPED = "stopped"
    EXITED_ZERO = "exited_zero"
    UNKNOWN = "unknown"


AFTER_READY = frozenset(
    {
        FailureKind.CUDA_OOM,
        FailureKind.GPU_FAULT,
        FailureKind.HOST_OUT_OF_MEMORY,
        FailureKind.SHARED_MEMORY_TOO_SMALL,
        FailureKind.DISK_FULL,
    }
)
"""What can end an engine that was serving; the words of other kinds then come from requests that it refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What happened, what to do about it, and engine arguments that do it."""

    summary: str
    advice: str
    args: tuple[str, ...] = ()


Tell = Callable[[re.Match[str], Sequence[str]], Words]
"""Makes the words from the match and from all lines of the log."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A cause, the words in a log line that give it away, and what to tell people."""

    kind: FailureKind
    pattern: re.Pattern[str]
    tell: Tell


def _fixed(summary: str, advice: str, *args: str) -> Tell:
    """Make words from templates, in which `{name}` stands for a group of the pattern."""

    def tell(found: re.Match[str], _: Sequence[str]) -> Words:
        groups = {name: text or "" for name, text in found.groupdict().items()}
        return Words(
            summary=summary.format_map(groups),
            advice=advice.format_map(groups),
            args=tuple(arg.format_map(groups) for arg in args),
        )

    return tell


def _rule(kind: FailureKind, tell: Tell, *wordings: str) -> Rule:
    return Rule(kind, re.compile("|".join(wordings)), tell)


# --- words that need arithmetic --------------------------------------------------------------------------------------


def _memory_in_use(found: re.Match[str], _: Sequence[str]) -> Words:
    free, total, wanted = found["free"], found["total"], found["wanted"]
    summary = f"only {free} of {total} GiB of the GPU's memory are free, and vLLM was to take {wanted} GiB"
    look = "see with nvidia-smi what holds the GPU (a left-over VLLM::EngineCore?) and end it"
    share = int((float(free) / float(total) - 0.02) * 100) / 100 if float(total) else 0.0
    if share < 0.1:  # noqa: PLR2004 - no model runs in a tenth of a GPU
        return Words(summary=summary, advice=look)
    args = ("--gpu-memory-utilization", f"{share:.2f}")
    return Words(summary=summary, advice=f"{look}, or share it: {' '.join(args)}", args=args)


def _context_too_long(found: re.Match[str], _: Sequence[str]) -> Words:
    asked, needed, left, fits = found["asked"], found["needed"], found["left"], found["fits"]
    summary = f"a context of {asked} tokens needs {needed} GiB of KV cache, and {left} GiB are left"
    if fits is None:
        advice = "give --max-model-len a much smaller number, or choose a smaller or quantised model"
        return Words(summary=summary, advice=advice)
    args = ("--max-model-len", str(_with_slack(int(fits))))
    return Words(summary=summary, advice=f"{' '.join(args)} fits (vLLM's estimate is {fits})", args=args)


def _with_slack(tokens: int, *, step: int = 256) -> int:
    """Round down: free memory differs by a few megabytes from one start to the next."""
    return tokens // step * step or tokens


def _cuda_oom(_: re.Match[str], lines: Sequence[str]) -> Words:
    if any("Model loading took" in line or "KV cache size: " in line for line in lines):
        args = ("--max-num-seqs", "64", "--gpu-memory-utilization", "0.85")
        return Words(
            summary="the GPU's memory ran out after the weights were loaded",
            advice=f"leave more room: {' '.join(args)}; see with nvidia-smi that nothing else uses the GPU",
            args=args,
        )
    return Words(
        summary="the GPU's memory ran out while the weights were loaded",
        advice="choose a smaller model or a quantised one (AWQ, GPTQ, FP8); see with nvidia-smi what else uses the GPU",
    )


def _dtype(found: re.Match[str], _: Sequence[str]) -> Words:
    supported = re.findall(r"torch\.(\w+)", found["supported"] or "")
    first = supported[0] if supported else "float32"
    args = ("--dtype", "half" if "float16" in supported else first)
    return Words(summary="the model cannot be run in the number format chosen", advice=" ".join(args), args=args)


# --- rules, the most specific first ----------------------------------------------------------------------------------

_K = FailureKind
_SEE_MODEL = "check its spelling, or give the path of a local folder"
_SEE_ARGUMENTS = "correct the engine's arguments"

RULES = (
    _rule(
        _K.GPU_MEMORY_IN_USE,
        _memory_in_use,
        r"Free memory on device \S+ \((?P<free>\d+(?:\.\d+)?)/(?P<total>\d+(?:\.\d+)?) GiB\) on startup is less than "
        r"desired GPU memory utilization \([\d.]+, (?P<wanted>[\d.]+) GiB\)",
    ),
    _rule(
        _K.GPU_MEMORY_IN_USE,
        _fixed(
            "another process took or freed GPU memory while vLLM measured it",
            "start one engine at a time on a GPU, and try again",
        ),
        "Error in memory profiling",
    ),
    _rule(
        _K.CONTEXT_TOO_LONG,
        _context_too_long,
        r"To serve at least one request with the models?'s max seq len \((?P<asked>\d+)\), \((?P<needed>[\d.]+) GiB KV "
        r"cache is needed, which is larger than the available KV cache memory \((?P<left>[\d.]+) GiB\)"
        r"(?:.{0,80}?estimated maximum model length is (?P<fits>\d{1,12}))?",
    ),
    _rule(
        _K.CONTEXT_TOO_LONG,
        _fixed(
            "a context of {asked} tokens is longer than the model was made for ({limit})",
            "--max-model-len {limit}",
            "--max-model-len",
            "{limit}",
        ),
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len "
        r"\([^=)]*=(?P<limit>\d+)",
    ),
    _rule(
        _K.NO_KV_MEMORY,
        _fixed(
            "the weights leave no GPU memory for the KV cache",
            "--gpu-memory-utilization 0.95, or choose a smaller or quantised model",
            "--gpu-memory-utilization",
            "0.95",
        ),
        "No available memory for the cache blocks",
    ),
    _rule(
        _K.CUDA_OOM,
        _cuda_oom,
        "CUDA out of memory",
        r"torch\.OutOfMemoryError",
        "CUDA error: out of memory",
    ),
    _rule(
        _K.GATED_MODEL,
        _fixed(
            "the model is gated: its owner wants to know who downloads it",
            "accept its terms on its page on huggingface.co, then set HF_TOKEN to a token of that account",
        ),
        "You are trying to access a gated repo",
        "Cannot access gated repo",
        r"Access to model \S+ is restricted",
    ),
    _rule(
        _K.BAD_HF_TOKEN,
        _fixed("the Hugging Face token was refused", "set HF_TOKEN to a valid token, or unset it"),
        "Invalid credentials in Authorization header",
        "Invalid user token",
    ),
    _rule(
        _K.MODEL_NOT_DOWNLOADED,
        _fixed(
            "the model is not on this machine, and HF_HUB_OFFLINE forbids to download it",
            "unset HF_HUB_OFFLINE, or download the model first; if it is there, check its name",
        ),
        "outgoing traffic has been disabled",
        "OfflineModeIsEnabled",
    ),
    _rule(
        _K.MODEL_NOT_FOUND,
        _fixed("there is no model {model}, or it is private", f"{_SEE_MODEL}; for a private one set HF_TOKEN"),
        r"(?P<model>\S{1,200}) is not a local folder and is not a valid model identifier",
    ),
    _rule(
        _K.MODEL_NOT_FOUND,
        _fixed("there is no folder {model}", f"{_SEE_MODEL} that exists"),
        r"Repo id must be in the form .*?: '(?P<model>[^']{1,200})'",
    ),
    _rule(
        _K.MODEL_NOT_FOUND,
        _fixed("the model, or this revision of it, was not found", _SEE_MODEL),
        "RepositoryNotFoundError",
        "Repository Not Found for url",
        "is not a valid git identifier",
    ),
    _rule(
        _K.SHARED_MEMORY_TOO_SMALL,
        _fixed("the shared memory folder is too small", MORE_SHARED_MEMORY),
        r"No space left on device.{0,40}(?:/dev/shm|psm_)",
        r"unable to (?:allocate|open|write) shared memory",
        "out of shared memory",
        "insufficient shared memory",
    ),
    _rule(
        _K.DISK_FULL,
        _fixed("the disk is full", "free some space (df -h), or move HF_HOME and VLLM_CACHE_ROOT to a larger disk"),
        "No space left on device",
        "Not enough free disk space",
        "Disk quota exceeded",
    ),
    _rule(
        _K.NO_NETWORK,
        _fixed(
            "the model is not on this machine, and the network cannot be reached to download it",
            "check the network; if the model was downloaded before, set HF_HUB_OFFLINE=1",
        ),
        "Name or service not known",
        "Temporary failure in name resolution",
        "Network is unreachable",
        "Max retries exceeded with url",
        "We couldn't connect to '",
        "LocalEntryNotFoundError",
    ),
    _rule(
        _K.DAMAGED_WEIGHTS,
        _fixed(
            "a weights file is damaged or incomplete",
            "delete the model's folder in the cache and download it again",
        ),
        "SafetensorError",
        "Error while deserializing header",
    ),
    _rule(
        _K.ARCHITECTURE_UNSUPPORTED,
        _fixed("this vLLM cannot run the architecture {names}", "use another version of vLLM, or another model"),
        r"Model architectures? (?P<names>\[[^\]]{1,200}\]|\S{1,200}) "
        "(?:are not supported|is not supported|was supported in vLLM until|failed to be inspected)",
    ),
    _rule(
        _K.NEEDS_REMOTE_CODE,
        _fixed("the model comes with code of its own", "if you trust its authors: --trust-remote-code"),
        "trust_remote_code=True",
        "--trust-remote-code",
    ),
    _rule(
        _K.BF16_UNSUPPORTED,
        _fixed("this GPU cannot compute in bfloat16", "--dtype half", "--dtype", "half"),
        "Bfloat16 is only supported on GPUs with compute capability",
    ),
    _rule(
        _K.DTYPE_UNSUPPORTED,
        _dtype,
        r"does not support float16\. Reason",
        r"is not supported for quantization method .{0,80}(?P<supported>\[[^\]]*\])",
    ),
    _rule(
        _K.QUANTIZATION_UNSUPPORTED,
        _fixed(
            "this vLLM on this GPU cannot run the model's quantisation",
            "choose another variant (AWQ and GPTQ run widely)",
        ),
        r"[Qq]uantization (?:method|scheme).{0,80} is not supported",
        "(?:Unknown|Invalid) quantization method",
    ),
    _rule(
        _K.DRIVER_TOO_OLD,
        _fixed(
            "the NVIDIA driver is too old for this vLLM",
            "install driver 580 or later, or a build of vLLM for an older CUDA",
        ),
        "NVIDIA driver on your system is too old",
        "driver version is insufficient for CUDA runtime",
        "forward compatibility was attempted on non supported",
        "unsupported display driver / cuda driver combination",
    ),
    _rule(
        _K.NO_GPU,
        _fixed(
            "vLLM sees no GPU",
            "check nvidia-smi and CUDA_VISIBLE_DEVICES; in a container, start it with its GPUs",
        ),
        "No CUDA GPUs are available",
        "Failed to infer device type",
        "Found no NVIDIA driver",
        "no CUDA-capable device is detected",
    ),
    _rule(
        _K.GPU_FAULT,
        _fixed("the GPU failed: {fault}", "see dmesg for Xid messages; if it comes back, change the machine"),
        "(?P<fault>CUDA error: (?:unspecified launch failure|an illegal memory access|uncorrectable ECC error"
        "|device-side assert triggered|misaligned address|unknown error|hardware stack error)"
        "|GPU is lost|GPU has fallen off the bus)",
    ),
    _rule(
        _K.PORT_IN_USE,
        _fixed("the engine's address is taken by another process", "stop the other server (ss -ltnp names it)"),
        "Address already in use",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        _fixed("vLLM does not understand its arguments: {what}", _SEE_ARGUMENTS),
        r"^[\w.]+(?: [\w-]+)*: error: (?P<what>.{1,250})",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        _fixed("vLLM refuses its settings: {what}", _SEE_ARGUMENTS),
        r"^Value error, (?P<what>.{1,250}?)(?: \[type=|$)",
    ),
    _rule(
        _K.TIMEOUT,
        _fixed(
            "the engine core was not ready after {waited} s",
            "raise VLLM_ENGINE_READY_TIMEOUT_S, or speed up loading (local disk, compile cache)",
        ),
        r"Timed out waiting for engine core processes to start.{0,120}?Waited (?P<waited>\d+)s",
    ),
    _rule(
        _K.HOST_OUT_OF_MEMORY,
        _fixed("the machine's own memory (not the GPU's) ran out", "use a machine with more RAM, or a smaller model"),
        "Cannot allocate memory",
        "^MemoryError",
        "can't allocate memory",
        "std::bad_alloc",
    ),
    _rule(
        _K.BROKEN_INSTALL,
        _fixed("vLLM's installation is incomplete: {what}", "install vLLM again in an environment of its own"),
        r"^(?P<what>(?:ModuleNotFoundError|ImportError|importlib\.metadata\.PackageNotFoundError): .{1,200})",
    ),
)
