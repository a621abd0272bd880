"""Tables of TOML files, read key by key; what is wrong is said with file, line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Keys = tuple[str | int, ...]

Value = TypeVar("Value")

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file of settings, and its text, which knows the lines that the parsed content has lost."""

    path: Path
    text: str
    content: Mapping[str, Any]

    def place(self, *keys: str | int) -> str:
        """Return where `keys` lead, for people."""
        return f"{self.path} line {line_of(self.text, keys)}, {'.'.join(_shown(keys))}"

    def tables(self, *keys: str) -> Iterator[tuple[str, Table]]:
        """Yield the tables below `keys` with their names.

        Raises:
            BadValueError: something below `keys` is not a table.
        """
        for name, value in Table.at(self, keys).content.items():
            yield name, Table(self, (*keys, name), _mapping(value, self, (*keys, name)))

    def array(self, key: str) -> Iterator[Table]:
        """Yield the tables of the array `[[key]]`.

        Raises:
            BadValueError: it is something else.
        """
        rows = self.content.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadValueError(f"{self.place(key)}: write it as [[{key}]], once for each")
        for number, row in enumerate(rows):
            yield Table(self, (key, number), row)


@dataclass(slots=True)
class Table:
    """One table; each of its keys is taken once, and what is left over is refused."""

    file: TomlFile
    keys: Keys
    content: Mapping[str, Any]
    _known: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, file: TomlFile, keys: tuple[str, ...]) -> Table:
        """Return the table at `keys`, empty if there is none."""
        content: Any = file.content
        for depth, key in enumerate(keys, start=1):
            content = _mapping(content.get(key, {}), file, keys[:depth])
        return cls(file, keys, content)

    @property
    def place(self) -> str:
        """Where the table stands."""
        return self.file.place(*self.keys)

    def take(self, key: str, read: Callable[[Any], Value], default: Value) -> Value:
        """Return the value of `key` as `read` understands it, or `default`.

        Raises:
            BadValueError: `read` does not understand it.
        """
        self._known.append(key)
        return self._read(key, read) if key in self.content else default

    def require(self, key: str, read: Callable[[Any], Value]) -> Value:
        """Return the value of `key` as `read` understands it.

        Raises:
            BadValueError: it is missing, or not understood.
        """
        if key not in self.content:
            raise BadValueError(f"{self.place}: {key!r} is missing")
        self._known.append(key)
        return self._read(key, read)

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            BadValueError: there are some.
        """
        for key in self.content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self._known)}"
                raise BadValueError(f"{self.file.place(*self.keys, key)}: unknown key; {hint}")

    def _read(self, key: str, read: Callable[[Any], Value]) -> Value:
        try:
            return read(self.content[key])
        except BadValueError as error:
            raise BadValueError(f"{self.file.place(*self.keys, key)}: {error}") from None


@contextmanager
def placed(table: Table) -> Iterator[None]:
    """Say where `table` stands if its keys do not go together; a single key names its own place."""
    try:
        yield
    except BadValueError as error:
        if str(error).startswith(str(table.file.path)):
            raise
        raise BadValueError(f"{table.place}: {error}") from None


def read_toml(path: Path) -> TomlFile:
    """Read the TOML file at `path`.

    Raises:
        BadValueError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TomlFile(path, text, tomllib.loads(text))
    except OSError as error:
        raise BadValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValueError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadValueError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}") from error


def line_of(text: str, keys: Keys) -> int:
    """Return the line of `keys`, else of the table they are in; tomllib gives none for a file that parses."""
    best, best_line = 0, 1
    for number, found in _lines(text):
        if len(found) > best and found == keys[: len(found)]:
            best, best_line = len(found), number
    return best_line


def _lines(text: str) -> Iterator[tuple[int, Keys]]:
    here: Keys = ()
    seen: Counter[Keys] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            here = _parts(header[2])
            if header[1] == "[[":
                seen[here] += 1
                here = (*here, seen[here] - 1)
            yield number, here
        elif key := _KEY.match(line):
            yield number, (*here, *_parts(key[1]))


def _parts(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _shown(keys: Keys) -> Iterator[str]:
    for key in keys:
        if isinstance(key, str):
            yield key


def _mapping(value: Any, file: TomlFile, keys: Keys) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        name = ".".join(_shown(keys))
        raise BadValueError(f"{file.place(*keys)}: {value!r} is not a table; write [{name}] and its keys below")
    return value
