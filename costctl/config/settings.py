"""Every setting once: its name, how its value is read, its default, and what it means."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from costctl.config.home import expand_user
from costctl.domain.durations import parse_duration, parse_window
from costctl.domain.offers import Market
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from costctl.domain.money import Price

DEFAULT_MODEL = "Qwen/Qwen3-1.7B"
ENGINES = ("auto", "vllm", "command", "sim")
GPUS = ("auto", "nvml", "sim", "none")
MARKETS = tuple(market.value for market in Market)
_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]{1,15}")
_SIZE_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_PASSWORD = re.compile(r"(://[^/@:]*:).*@")
TABLES = ("billing", "standing")
"""What else may stand in the file: tables, read by those who need them (`config/billing.py`)."""
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
    ledger: str | None


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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadValueError(f"{value!r} is not a text")
    return value.strip()


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _path(value: Any) -> Path | None:
    return None if value is None else expand_user(_text(value))


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value in choices:
            return str(value)
        raise BadValueError(f"{value!r} is none of {', '.join(choices)}")

    return read


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = str(value)
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise BadValueError(f"{value!r} is not a whole number from {low} to {high}")
        return int(text)

    return read


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise BadValueError(f"{value!r} is neither true nor false")


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise BadValueError(f"{value!r} cannot be split into words: {error}") from None
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise BadValueError(f"{value!r} is neither a text nor a list of texts")


def _keys(value: Any) -> tuple[str, ...]:
    words = value.replace(",", " ").split() if isinstance(value, str) else _words(value)
    return tuple(words)


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or not int(match[1]):
        raise BadValueError(f"{value!r} is not a size: write it like 512KiB, 32MiB or 1GiB")
    return int(match[1]) * _SIZE_UNITS[(match[2] or "B").lower()]


def _duration(value: Any) -> float:
    return parse_duration(str(value))


def _window(value: Any) -> float | None:
    return parse_window("off" if value is False else str(value))


def _gpu(value: Any) -> str:
    text = _text(value)
    if text in GPUS or text.startswith("sim:"):
        return text
    raise BadValueError(f"{value!r} is none of {', '.join(GPUS)} (or sim:NAME)")


def _on_idle(value: Any) -> str:
    text = _text(value)
    command = _words(text.removeprefix("command:")) if text.startswith("command:") else ()
    if text in {"exit", "unload", "poweroff"} or any(command[:1]):
        return text
    raise BadValueError(f"{value!r} is none of exit, unload, poweroff, or 'command: PROGRAM ARGS'")


def _market(value: Any) -> str | None:
    return None if value is None else _one_of(*MARKETS)(value)


def _health_path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise BadValueError(f"{value!r} is not a path: begin it with '/'")
    return text


def _as_given(value: Any) -> object:
    return value


SETTINGS: tuple[Setting, ...] = (
    Setting(name="model", read=_text, default=DEFAULT_MODEL, metavar="NAME", help="Model to serve.", group="engine"),
    Setting(
        name="engine",
        read=_one_of(*ENGINES),
        default="auto",
        metavar="|".join(ENGINES),
        help="Model server; auto is vllm where it can run.",
        group="engine",
    ),
    Setting(
        name="engine-command",
        read=_words,
        default=(),
        metavar="COMMAND",
        help="Command line of any OpenAI-compatible server, with {port} or {uds} where it listens and {model}.",
        group="engine",
    ),
    Setting(
        name="health-path",
        read=_health_path,
        default="/health",
        metavar="PATH",
        help="Route that answers 200 when that server is ready.",
        group="engine",
    ),
    Setting(
        name="engine-args",
        read=_words,
        default=(),
        metavar="ARGS",
        help="More arguments for the engine.",
        group="engine",
    ),
    Setting(
        name="vllm",
        read=_optional_text,
        default=None,
        metavar="PATH",
        help="The vllm program, if it is not on PATH or in costctl's own environment.",
        group="engine",
    ),
    Setting(
        name="gpu",
        read=_gpu,
        default="auto",
        metavar="|".join(GPUS),
        help="How GPUs are watched.",
        group="engine",
    ),
    Setting(
        name="eager",
        read=_switch,
        default=False,
        flag=True,
        help="Start the engine at once, not at the first request.",
        group="engine",
    ),
    Setting(
        name="start-timeout",
        read=_duration,
        default="20m",
        metavar="TIME",
        help="How long the engine may take to answer.",
        group="engine",
    ),
    Setting(
        name="stop-timeout",
        read=_duration,
        default="30s",
        metavar="TIME",
        help="How long the engine may take to end before it is killed.",
        group="engine",
    ),
    Setting(
        name="drain-timeout",
        read=_duration,
        default="60s",
        metavar="TIME",
        help="How long running requests may take when the engine is asked to stop.",
        group="engine",
    ),
    Setting(
        name="stall-timeout",
        read=_duration,
        default="5m",
        metavar="TIME",
        help="How long running requests may make no progress before the engine is put to the test.",
        group="engine",
    ),
    Setting(
        name="host", read=_text, default="127.0.0.1", metavar="ADDRESS", help="Address to listen on.", group="door"
    ),
    Setting(
        name="port", read=_integer(1, _HIGHEST_PORT), default=8000, metavar="N", help="Port to listen on.", group="door"
    ),
    Setting(
        name="api-keys",
        read=_keys,
        default=(),
        secret=True,
        help="Keys that clients must show; from the environment only.",
        group="door",
    ),
    Setting(
        name="api-key-file",
        read=_path,
        default=None,
        metavar="FILE",
        help="File with the keys that clients must show, one a line.",
        group="door",
    ),
    Setting(
        name="no-auth",
        read=_switch,
        default=False,
        flag=True,
        help="Listen beyond this machine without keys: everybody who reaches the port can use the GPU.",
        group="door",
    ),
    Setting(
        name="max-waiting",
        read=_integer(1, 1_000_000),
        default=4096,
        metavar="N",
        help="Requests that may wait for a starting engine; more get 503.",
        group="door",
    ),
    Setting(
        name="max-body",
        read=_size,
        default="64MiB",
        metavar="SIZE",
        help="Largest request; more gets 413.",
        group="door",
    ),
    Setting(
        name="idle-shutdown",
        read=_window,
        default="30m",
        metavar="TIME|off",
        help="Idle window after which --on-idle happens.",
        group="idle",
    ),
    Setting(
        name="on-idle",
        read=_on_idle,
        default="exit",
        metavar="exit|unload|poweroff|'command: ...'",
        help="What happens at the end of the idle window. All but unload end the session and the daemon.",
        group="idle",
    ),
    Setting(
        name="grace",
        read=_duration,
        default="60s",
        metavar="TIME",
        help="How long before the end of the window it is announced (at most a fifth of it).",
        group="idle",
    ),
    Setting(
        name="unreadable-cap",
        read=_duration,
        default="2h",
        metavar="TIME",
        help="How long a signal that cannot be read counts as activity.",
        group="idle",
    ),
    Setting(
        name="price",
        read=_as_given,
        default=None,
        metavar="'1.8 CNY/h'",
        help="What an hour of this machine costs; left out, the price book is asked (`costctl prices explain`).",
        group="money",
    ),
    Setting(
        name="provider",
        read=_optional_text,
        default=None,
        metavar="NAME",
        help="Whom this machine is rented from, as price lists call it: aws, gcp, azure, runpod, ...",
        group="money",
    ),
    Setting(
        name="instance-type",
        read=_optional_text,
        default=None,
        metavar="NAME",
        help="What the provider calls this kind of machine, like g4dn.xlarge.",
        group="money",
    ),
    Setting(
        name="region",
        read=_optional_text,
        default=None,
        metavar="NAME",
        help="Where it is, as the provider calls it.",
        group="money",
    ),
    Setting(
        name="market",
        read=_market,
        default=None,
        metavar="on-demand|spot",
        help="On which terms it is rented.",
        group="money",
    ),
    Setting(
        name="billing-starts",
        read=_one_of("auto", "boot", "serve"),
        default="auto",
        metavar="auto|boot|serve",
        help="When billing starts: at the machine's boot, or (auto with a simulated GPU) when the daemon starts.",
        group="money",
    ),
    Setting(
        name="billing-rule",
        read=_optional_text,
        default=None,
        metavar="NAME",
        help="How the provider bills, by a name from `costctl billing rules`; for reports.",
        group="money",
    ),
    Setting(
        name="ledger",
        read=_optional_text,
        default=None,
        metavar="URL",
        help="SQLAlchemy URL of the ledger, if it is not the file in COSTCTL_HOME.",
        group="money",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
assert {setting.field for setting in SETTINGS} == {item.name for item in fields(Settings)}  # noqa: S101 - read once, at import
