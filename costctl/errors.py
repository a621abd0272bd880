"""Every error that costctl raises on purpose.

The tree, with exit codes::

    CostctlError                 1  failed; the message says what happened, to what, and what to do
    ├── BadValueError            2  a flag, variable, setting or file that cannot be understood
    ├── EngineStartError         3  the model server did not start
    ├── RefusedError             5  costctl will not do this as things stand
    ├── DaemonError              1
    │   ├── DaemonRunningError   5  a second daemon in the same home
    │   └── DaemonNotRunningError 1
    ├── LedgerError              1
    │   ├── LedgerMissingError   1  there is none yet
    │   ├── LedgerOlderError     1  written by an older costctl, and only to be read
    │   ├── LedgerTooNewError    1  written by a newer costctl
    │   └── LedgerUnavailableError 1  cannot be read or written now: locked, full, read-only, gone
    ├── EngineUnreadableError    1  the engine does not say how it is
    ├── GpuError                 1  the GPU's state cannot be read
    ├── StorageFullError         1  there is no room for what is to be kept
    ├── InstanceActionError      1  the instance could not be stopped: it is still billed
    ├── AnswerStoreError         1  the cache's store cannot be used now
    ├── NotificationError        1  a message did not reach everybody that it was for
    └── MissingPieceError        1  a program or library that is not installed
"""

from __future__ import annotations

from typing import ClassVar


class CostctlError(Exception):
    """Base of all errors meant for people; `str()` is the one line that they read."""

    exit_code: ClassVar[int] = 1


class BadValueError(CostctlError):
    """A value that was given cannot be understood."""

    exit_code = 2


class EngineStartError(CostctlError):
    """The model server did not become ready."""

    exit_code = 3


class RefusedError(CostctlError):
    """Something that costctl will not do as things stand."""

    exit_code = 5


class DaemonError(CostctlError):
    """The daemon cannot be started or reached."""


class DaemonRunningError(DaemonError):
    """Another daemon holds this home."""

    exit_code = 5


class DaemonNotRunningError(DaemonError):
    """No daemon answers in this home."""


class LedgerError(CostctlError):
    """The ledger cannot be used."""


class LedgerMissingError(LedgerError):
    """There is no ledger yet."""


class LedgerOlderError(LedgerError):
    """The ledger was written by an older costctl, and must be migrated before it can be read."""


class LedgerTooNewError(LedgerError):
    """The ledger was written by a newer costctl."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be read or written at the moment."""


class EngineUnreadableError(CostctlError):
    """The engine does not say how it is."""


class GpuError(CostctlError):
    """The GPU's state cannot be read."""


class StorageFullError(CostctlError):
    """There is no room for what is to be kept."""


class InstanceActionError(CostctlError):
    """The instance could not be stopped, so it is still billed."""


class AnswerStoreError(CostctlError):
    """The store of cached answers cannot be used at the moment; its words name no secret."""


class NotificationError(CostctlError):
    """A message did not reach everybody that it was for; says who, by name alone."""


class MissingPieceError(CostctlError):
    """A program or library that this needs is not installed."""
