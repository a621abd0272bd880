"""From the bytes of a file that somebody saved to text: without guesses that could turn one character into another."""

from __future__ import annotations

import codecs

from costctl.errors import BadValueError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HINT = "say which it is, like --encoding latin-1, gb18030 or utf-16-le"


def decode(content: bytes, encoding: str | None = None) -> str:
    """Return the text of `content`: in the encoding that is given or that its byte order mark names, else in UTF-8.

    Raises:
        BadValueError: it is not text in that encoding, or there is no such encoding.
    """
    name = encoding or next((named for mark, named in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(name)
    except LookupError:
        raise BadValueError(f"{name!r} is not an encoding: {_HINT}") from None
    except UnicodeError as error:
        at = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise BadValueError(f"not {name} text{at}: {_HINT}") from None
    if "\0" in text:
        raise BadValueError(f"not {name} text, as it has NUL characters: {_HINT}")
    return text.removeprefix("\ufeff")
