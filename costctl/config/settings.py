"""Every setting once: its name, how its value is read, its default, and what it means."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from costctl.config import readers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from costctl.domain.money import Price

DEFAULT_MODEL = "Qwen/Qwen3-1.7B"
ENGINES = ("auto", "vllm", "command", "sim")
_PASSWORD = re.compile(r"(://[^/@:]*:).*@")
TABLES = ("billing", "standing", "rate", "notify", "cache")
"""What else may stand in the file: tables, read by those who need them (`config/billing.py` and its neighbours)."""
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings, resolved; durations in seconds, sizes in bytes."""

    model: str
    engine: str
    engine_args: tuple[str, ...]
    engine_command: tuple[str, ...]
    health_path: str
    vllm: str | None
    gpu: str
    host: str
    port: int
    api_keys: tuple[str, ...]
    api_key_file: Path | None
    no_auth: bool
    no_listen: bool
    idle_shutdown: float | None
    on_idle: str
    grace: float
    unreadable_cap: float
    price: Price | None
    provider: str | None
    instance_type: str | None
    region: str | None
    market: str | None
    billing_starts: str
    billing_rule: str | None
    eager: bool
    start_timeout: float
    drain_timeout: float
    stop_timeout: float
    stall_timeout: float
    max_waiting: int
    max_body: int
    files_max_size: int
    ledger: str | None
    time_zone: ZoneInfo | None

    @property
    def stops_instance(self) -> bool:
        """Whether --on-idle does something to the machine."""
        return stops_instance(self.on_idle)


def stops_instance(on_idle: str) -> bool:
    """Return whether this --on-idle does something to the machine."""
    return on_idle not in {"exit", "unload"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """How one setting is called, read and explained."""

    name: str
    read: Callable[[Any], object]
    default: object
    help: str
    metavar: str = "TEXT"
    secret: bool = False
    flag: bool = False
    group: str = ""

    @property
    def field(self) -> str:
        """Its name in `Settings` and, in lower case, after COSTCTL_."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"COSTCTL_{self.field.upper()}"

    def shown(self, raw: object) -> str:
        """Return a value of this setting, as it was given, for everybody's eyes."""
        if raw is None or raw == ():
            return ""
        if self.secret:
            return "***"
        if isinstance(raw, list | tuple):
            return shlex.join(map(str, raw))
        text = str(raw).lower() if isinstance(raw, bool) else str(raw)
        return _PASSWORD.sub(r"\1***@", text)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="model",
        read=readers.as_text,
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="Model to serve.",
        group="engine",
    ),
    Setting(
        name="engine",
        read=readers.one_of(*ENGINES),
        default="auto",
        metavar="|".join(ENGINES),
        help="Model server; auto is vllm where it can run.",
        group="engine",
    ),
    Setting(
        name="engine-command",
        read=readers.as_words,
        default=(),
        metavar="COMMAND",
        help="Command line of any OpenAI-compatible server, with {port} or {uds} where it listens and {model}.",
        group="engine",
    ),
    Setting(
        name="health-path",
        read=readers.as_health_path,
        default="/health",
        metavar="PATH",
        help="Route that answers 200 when that server is ready.",
        group="engine",
    ),
    Setting(
        name="engine-args",
        read=readers.as_words,
        default=(),
        metavar="ARGS",
        help="More arguments for the engine.",
        group="engine",
    ),
    Setting(
        name="vllm",
        read=readers.as_optional_text,
        default=None,
        metavar="PATH",
        help="The vllm program, if it is not on PATH or in costctl's own environment.",
        group="engine",
    ),
    Setting(
        name="gpu",
        read=readers.as_gpu,
        default="auto",
        metavar="|".join(readers.GPUS),
        help="How GPUs are watched.",
        group="engine",
    ),
    Setting(
        name="eager",
        read=readers.as_switch,
        default=False,
        flag=True,
        help="Start the engine at once, not at the first request.",
        group="engine",
    ),
    Setting(
        name="start-timeout",
        read=readers.as_duration,
        default="20m",
        metavar="TIME",
        help="How long the engine may take to answer.",
        group="engine",
    ),
    Setting(
        name="stop-timeout",
        read=readers.as_duration,
        default="30s",
        metavar="TIME",
        help="How long the engine may take to end before it is killed.",
        group="engine",
    ),
    Setting(
        name="drain-timeout",
        read=readers.as_duration,
        default="60s",
        metavar="TIME",
        help="How long running requests may take when the engine is asked to stop.",
        group="engine",
    ),
    Setting(
        name="stall-timeout",
        read=readers.as_duration,
        default="5m",
        metavar="TIME",
        help="How long running requests may make no progress before the engine is put to the test.",
        group="engine",
    ),
    Setting(
        name="host",
        read=readers.as_text,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="Address to listen on.",
        group="door",
    ),
    Setting(
        name="port",
        read=readers.integer(1, _HIGHEST_PORT),
        default=8000,
        metavar="N",
        help="Port to listen on.",
        group="door",
    ),
    Setting(
        name="api-keys",
        read=readers.as_keys,
        default=(),
        secret=True,
        help="Keys that clients must show; from the environment only.",
        group="door",
    ),
    Setting(
        name="api-key-file",
        read=readers.as_path,
        default=None,
        metavar="FILE",
        help="File with the keys that clients must show, one a line.",
        group="door",
    ),
    Setting(
        name="no-auth",
        read=readers.as_switch,
        default=False,
        flag=True,
        help="Listen beyond this machine without keys: everybody who reaches the port can use the GPU.",
        group="door",
    ),
    Setting(
        name="no-listen",
        read=readers.as_switch,
        default=False,
        flag=True,
        help="Listen on no port: only this user's own commands (`costctl batch`) reach the engine.",
        group="door",
    ),
    Setting(
        name="max-waiting",
        read=readers.integer(1, 1_000_000),
        default=4096,
        metavar="N",
        help="Requests that may wait for a starting engine; more get 503.",
        group="door",
    ),
    Setting(
        name="max-body",
        read=readers.as_size,
        default="64MiB",
        metavar="SIZE",
        help="Largest request; more gets 413.",
        group="door",
    ),
    Setting(
        name="files-max-size",
        read=readers.as_size,
        default="2GiB",
        metavar="SIZE",
        help="Room for files that clients upload for batches, and their results; uploads beyond it get 413.",
        group="door",
    ),
    Setting(
        name="idle-shutdown",
        read=readers.as_window,
        default="30m",
        metavar="TIME|off",
        help="Idle window after which --on-idle happens.",
        group="idle",
    ),
    Setting(
        name="on-idle",
        read=readers.as_on_idle,
        default="exit",
        metavar="exit|unload|poweroff|'command: ...'",
        help="What happens at the end of the idle window. All but unload end the session and the daemon.",
        group="idle",
    ),
    Setting(
        name="grace",
        read=readers.as_duration,
        default="60s",
        metavar="TIME",
        help="How long before the end of the window it is announced (at most a fifth of it).",
        group="idle",
    ),
    Setting(
        name="unreadable-cap",
        read=readers.as_duration,
        default="2h",
        metavar="TIME",
        help="How long a signal that cannot be read counts as activity.",
        group="idle",
    ),
    Setting(
        name="price",
        read=readers.as_given,
        default=None,
        metavar="'1.8 CNY/h'",
        help="What an hour of this machine costs; left out, the price book is asked (`costctl prices explain`).",
        group="money",
    ),
    Setting(
        name="provider",
        read=readers.as_optional_text,
        default=None,
        metavar="NAME",
        help="Whom this machine is rented from, as price lists call it: aws, gcp, azure, runpod, ...",
        group="money",
    ),
    Setting(
        name="instance-type",
        read=readers.as_optional_text,
        default=None,
        metavar="NAME",
        help="What the provider calls this kind of machine, like g4dn.xlarge.",
        group="money",
    ),
    Setting(
        name="region",
        read=readers.as_optional_text,
        default=None,
        metavar="NAME",
        help="Where it is, as the provider calls it.",
        group="money",
    ),
    Setting(
        name="market",
        read=readers.as_market,
        default=None,
        metavar="on-demand|spot",
        help="On which terms it is rented.",
        group="money",
    ),
    Setting(
        name="billing-starts",
        read=readers.one_of("auto", "boot", "serve"),
        default="auto",
        metavar="auto|boot|serve",
        help="When billing starts: at the machine's boot, or (auto with a simulated GPU) when the daemon starts.",
        group="money",
    ),
    Setting(
        name="billing-rule",
        read=readers.as_optional_text,
        default=None,
        metavar="NAME",
        help="How the provider bills, by a name from `costctl billing rules`; else by provider and market.",
        group="money",
    ),
    Setting(
        name="ledger",
        read=readers.as_optional_text,
        default=None,
        metavar="URL",
        help="SQLAlchemy URL of the ledger, if it is not the file in COSTCTL_HOME.",
        group="money",
    ),
    Setting(
        name="time-zone",
        read=readers.as_zone,
        default=None,
        metavar="ZONE",
        help="Time zone of reports, like Asia/Shanghai, if it is not the system's (--tz there).",
        group="money",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
assert {setting.field for setting in SETTINGS} == {item.name for item in fields(Settings)}  # noqa: S101 - read once, at import
