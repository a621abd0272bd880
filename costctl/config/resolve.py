"""Find every setting's value and where it came from."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.config.home import expand_user
from costctl.config.settings import BY_NAME, SETTINGS, Setting, Settings
from costctl.domain.money import parse_price
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FILE_NAME = "costctl.toml"


@dataclass(frozen=True, slots=True)
class Origin:
    """A value as it was given, and where."""

    raw: object
    place: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings with their origins by name."""

    settings: Settings
    origins: Mapping[str, Origin]


def resolve(
    *, flags: Mapping[str, object], environ: Mapping[str, str], now: datetime, config: str | None = None
) -> Resolved:
    """Return all settings: flags over variables over the file over defaults.

    Raises:
        BadValueError: a value that cannot be understood, with the place where it stands.
    """
    path = _config_file(environ, config)
    in_file = _read_file(path) if path else {}
    origins = {setting.name: _origin(setting, flags, environ, in_file) for setting in SETTINGS}
    values = {BY_NAME[name].field: _value(BY_NAME[name], origin, now) for name, origin in origins.items()}
    return Resolved(Settings(**values), origins)  # type: ignore[arg-type] # read by name, checked at import


def _origin(
    setting: Setting, flags: Mapping[str, object], environ: Mapping[str, str], in_file: Mapping[str, Origin]
) -> Origin:
    flag = flags.get(setting.name)
    if flag is not None and flag != ():
        return Origin(flag, f"--{setting.name}")
    variable = environ.get(setting.variable)
    if variable is not None:
        return Origin(variable, setting.variable)
    return in_file.get(setting.name) or Origin(setting.default, "default")


def _value(setting: Setting, origin: Origin, now: datetime) -> object:
    try:
        if setting.name == "price" and origin.raw is not None:
            return parse_price(str(origin.raw), source=origin.place, dated=now)
        return setting.read(origin.raw)
    except BadValueError as error:
        # A secret must not end up in an error message, so only its place is named.
        what = "its value cannot be read" if setting.secret else str(error)
        raise BadValueError(f"{origin.place}: {what}") from None


def _config_file(environ: Mapping[str, str], config: str | None) -> Path | None:
    named = config or environ.get("COSTCTL_CONFIG")
    if named:
        path = expand_user(named)
        if not path.is_file():
            raise BadValueError(f"there is no configuration file {path}")
        return path
    here = Path(FILE_NAME)
    if here.is_file():
        return here
    from platformdirs import user_config_path  # noqa: PLC0415 - quick commands rarely need it

    users = user_config_path("costctl") / FILE_NAME
    return users if users.is_file() else None


def _read_file(path: Path) -> dict[str, Origin]:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise BadValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValueError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadValueError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}") from error
    return {name: _entry(path, text, name, value) for name, value in content.items()}


def _entry(path: Path, text: str, name: str, value: Any) -> Origin:
    place = f"{path} line {_line_of(text, name)}, {name}"
    setting = BY_NAME.get(name)
    if setting is None:
        near = difflib.get_close_matches(name, BY_NAME, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `costctl config show` lists all keys"
        raise BadValueError(f"{place}: unknown key{hint}")
    if setting.secret:
        raise BadValueError(f"{place}: keys do not belong in this file; use api-key-file or {setting.variable}")
    return Origin(value, place)


def _line_of(text: str, name: str) -> int:
    """Return the line where `name` is set; tomllib gives none for a file that parses."""
    pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[=\].]""")
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.match(line):
            return number
    return 1
