"""Find the files that ship with costctl: the catalog, locales, migrations, schemas and templates."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the shipped folder called `name`, from the wheel's data or from the checkout.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"costctl's own folder {name!r} is missing: reinstall costctl")
