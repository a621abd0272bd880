"""Where messages are sent to: the `[[notify]]` tables. URLs and commands hold secrets, so no error repeats a value."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costctl.config.home import expand_user
from costctl.config.readers import as_text
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from costctl.config.tables import Table, TomlFile

_EXAMPLE = "[[notify]] with a name and a url, like 'mailto://...' or 'json://...', or a command"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifyTarget:
    """A target's name, where it stands, and its command, its URL or where that is found: exactly one of the four."""

    name: str
    place: str
    url: str | None = field(default=None, repr=False)
    url_env: str | None = None
    url_file: str | None = None
    command: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if [self.url, self.url_env, self.url_file, self.command].count(None) != 3:  # noqa: PLR2004 - all but one
            raise BadValueError(f"{self.place}: give {self.name!r} one of url, url-env, url-file and command")

    def find_url(self, environ: Mapping[str, str]) -> str:
        """Return its URL, a secret.

        Raises:
            BadValueError: it is not where it should be.
        """
        if self.url_file is not None:
            return self._in_file(self.url_file)
        url = self.url if self.url_env is None else environ.get(self.url_env, "").strip()
        if not url:
            raise BadValueError(f"{self.place}: the environment variable {self.url_env} is not set")
        return url

    def _in_file(self, name: str) -> str:
        path = expand_user(name)
        try:
            url = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadValueError(f"{self.place}: cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadValueError(f"{self.place}: {path} is not UTF-8 text") from None
        if len(url.splitlines()) != 1:
            raise BadValueError(f"{self.place}: {path} has not one line, which is the url")
        return url


def read_targets(file: TomlFile | None) -> tuple[NotifyTarget, ...]:
    """Return the targets in `file`.

    Raises:
        BadValueError: one is not understood, or two have one name.
    """
    places: dict[str, str] = {}
    targets = [_target(table) for table in file.array("notify")] if file else []
    for target in targets:
        first = places.setdefault(target.name, target.place)
        if first != target.place:
            raise BadValueError(f"{target.place}: the name {target.name!r} is taken: {first}")
    return tuple(targets)


def choose_targets(targets: Sequence[NotifyTarget], names: Sequence[str] = ()) -> tuple[NotifyTarget, ...]:
    """Return the targets called `names`, or all if none is named.

    Raises:
        BadValueError: there are none, or none of that name.
    """
    if not targets:
        raise BadValueError(f"there is nowhere to send to: write {_EXAMPLE} into costctl.toml")
    by_name = {target.name: target for target in targets}
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(by_name)}"
            raise BadValueError(f"no target is called {name!r}; {hint}")
    return tuple(by_name[name] for name in dict.fromkeys(names or by_name))


def _target(table: Table) -> NotifyTarget:
    target = NotifyTarget(
        name=table.require("name", as_text),
        place=table.place,
        url=table.take("url", _secret, None),
        url_env=table.take("url-env", as_text, None),
        url_file=table.take("url-file", as_text, None),
        command=table.take("command", _secret, None),
    )
    table.finish()
    return target


def _secret(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadValueError("it is not a text")
    return value.strip()
