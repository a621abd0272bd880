"""How many connections this process may have."""

from __future__ import annotations

import resource

_MOST_FILES = 1_048_576


def allow_many_connections() -> None:
    """Raise the limit of open files: thousands of requests are thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
