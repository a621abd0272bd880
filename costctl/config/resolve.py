"""Find every setting's value and where it came from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.config.home import expand_user
from costctl.config.settings import BY_NAME, SETTINGS, TABLES, Setting, Settings
from costctl.config.tables import TomlFile, read_toml
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
    """The settings with their origins by name, and the file, of which the tables are still to be read."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: TomlFile | None = None


def resolve(
    *, flags: Mapping[str, object], environ: Mapping[str, str], now: datetime, config: str | None = None
) -> Resolved:
    """Return all settings: flags over variables over the file over defaults.

    Raises:
        BadValueError: a value that cannot be understood, with the place where it stands.
    """
    path = _config_file(environ, config)
    file = read_toml(path) if path else None
    content = file.content if file else {}
    in_file = {name: _entry(file, name, value) for name, value in content.items() if file and name not in TABLES}
    origins = {setting.name: _origin(setting, flags, environ, in_file) for setting in SETTINGS}
    values = {BY_NAME[name].field: _value(BY_NAME[name], origin, now) for name, origin in origins.items()}
    return Resolved(Settings(**values), origins, file)  # type: ignore[arg-type] # read by name, checked at import


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


def _entry(file: TomlFile, name: str, value: Any) -> Origin:
    place = file.place(name)
    setting = BY_NAME.get(name)
    if setting is None:
        near = difflib.get_close_matches(name, (*BY_NAME, *TABLES), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `costctl config show` lists all keys"
        raise BadValueError(f"{place}: unknown key{hint}")
    if setting.secret:
        raise BadValueError(f"{place}: keys do not belong in this file; use api-key-file or {setting.variable}")
    return Origin(value, place)
