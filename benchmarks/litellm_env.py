"""LiteLLM in an environment of its own, kept between runs outside the checkout.

`python benchmarks/litellm_env.py` builds it; the benchmark does the same when it is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "1.100.5"
INSTALL_TIMEOUT_S = 900


class SetUpError(Exception):
    """The environment could not be built; the message holds the last lines of the installer."""


def folder() -> Path:
    """Say where the environment lives; the pinned version is part of the name, so a new pin is a new folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "costctl-bench" / f"litellm-{VERSION}"


def executable() -> Path:
    return folder() / "bin" / "litellm"


def ensure() -> Path:
    """Build the environment unless it is complete, and return LiteLLM's program.

    Raises:
        SetUpError: the installation failed.
    """
    complete = folder() / "complete"
    if not complete.exists():
        print(f"installing LiteLLM {VERSION} into {folder()} (once, a minute or two)", file=sys.stderr, flush=True)
        venv.create(folder(), with_pip=True, clear=True)
        _install()
        complete.touch()
    return executable()


def _install() -> None:
    command = [str(folder() / "bin" / "python"), "-m", "pip", "install", "--quiet", f"litellm[proxy]=={VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise SetUpError(f"pip took longer than {INSTALL_TIMEOUT_S} s") from exc
    if done.returncode:
        raise SetUpError("pip failed: " + " / ".join(done.stderr.strip().splitlines()[-3:]))


if __name__ == "__main__":
    print(ensure())
