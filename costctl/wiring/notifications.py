"""Who is told of what goes on, as configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from costctl.config.notifications import choose_targets, read_targets
from costctl.wiring import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costctl.config.notifications import NotifyTarget
    from costctl.ports import Notifier


def load_notifier(names: Sequence[str] = ()) -> Notifier:
    """Return what sends to the targets called `names` in the configuration, or to all.

    Raises:
        BadValueError: there is no such target, or its URL is not found or not understood.
        MissingPieceError: the library that sends is not installed.
    """
    from costctl.adapters.notifications import NotifyAll

    return NotifyAll([_notifier(one) for one in choose_targets(read_targets(load_settings({}).file), names)])


def _notifier(target: NotifyTarget) -> Notifier:
    if target.command is not None:
        from costctl.adapters.notify_command import CommandNotifier

        return CommandNotifier(target.name, target.command)
    from costctl.adapters.notifications import AppriseNotifier

    return AppriseNotifier(target.name, target.find_url(os.environ))
