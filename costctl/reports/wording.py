"""The reader's language: words from catalogs, and numbers, money and times as they are written in it."""

from __future__ import annotations

import gettext
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from babel import Locale
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

from costctl import resources
from costctl.domain.durations import format_duration
from costctl.domain.money import MICRO
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from costctl.reports.outline import MomentForm

_LOCALES = {"en": "en", "zh": "zh_Hans_CN"}
_DOMAIN = "costctl"
# English readers get ISO codes: "CN¥" is foreign to them, and no ASCII.
_MONEY_FORMATS = {"en": "{number} ¤¤", "zh": "¤{number}"}
_MOMENT_FORMATS = {"day": "%Y-%m-%d", "short": "%m-%d %H:%M", "minute": "%Y-%m-%d %H:%M", "second": "%Y-%m-%d %H:%M:%S"}
_TELLING_DIGITS = 3  # as in 9.80; a smaller sum is 0.0980
_BETWEEN_NAMES = {"en": ", ", "zh": "、"}
_BETWEEN_SENTENCES = {"en": " ", "zh": ""}
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


def language_of(environ: Mapping[str, str]) -> str:
    """Return the language that the environment asks for: zh where it is Chinese, else en."""
    asked = next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    return "zh" if asked.lower().startswith("zh") else "en"


@dataclass(frozen=True)
class Wording:
    """How to say things in one language."""

    language: str
    locale: Locale
    catalog: gettext.NullTranslations

    @classmethod
    def of(cls, language: str) -> Wording:
        """Return the wording of `language`, en or zh.

        Raises:
            BadValueError: reports are not written in it.
        """
        if language not in _LOCALES:
            raise BadValueError(f"reports are not written in {language!r}: choose {' or '.join(_LOCALES)}")
        locale = Locale.parse(_LOCALES[language])
        folder = resources.folder("locales")
        catalog = gettext.translation(_DOMAIN, str(folder), [language], fallback=language == "en")
        return cls(language=language, locale=locale, catalog=catalog)

    def say(self, message: str, **values: object) -> str:
        """Return `message` in this language, with the values in the places it names."""
        return self.catalog.gettext(message).format(**values)

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """Return the sentence for `number` of something; {number} is written as is usual."""
        return self.catalog.ngettext(one, many, number).format(number=self.number(number), **values)

    def listed(self, names: Iterable[str]) -> str:
        """Return names or a few words each, one after the other."""
        return _BETWEEN_NAMES[self.language].join(names)

    def together(self, sentences: Iterable[str]) -> str:
        """Return sentences as one text."""
        return _BETWEEN_SENTENCES[self.language].join(sentences)

    def number(self, value: int | Decimal | Fraction, decimals: int = 0) -> str:
        """Return a number, rounded to `decimals`."""
        return format_decimal(_rounded(value, decimals), format=_pattern(decimals), locale=self.locale)

    def share(self, fraction: Fraction, decimals: int = 1) -> str:
        """Return a share in percent."""
        value = _rounded(fraction, decimals + 2)
        return format_percent(value, format=f"{_pattern(decimals)}%", locale=self.locale)

    def amount(self, micros: int, currency: str, decimals: int | None = None) -> str:
        """Return money with its currency, to `decimals`, or with all digits that matter (at least the usual ones)."""
        digits = _digits_that_matter(micros, currency) if decimals is None else decimals
        pattern = _MONEY_FORMATS[self.language].format(number=_pattern(digits))
        value = _rounded(Fraction(micros, MICRO), digits)
        return format_currency(value, currency, format=pattern, locale=self.locale, currency_digits=False)

    def plain_amount(self, micros: int, currency: str, decimals: int | None = None) -> str:
        """Return money like `amount`, for columns whose heading says the currency."""
        digits = _digits_that_matter(micros, currency) if decimals is None else decimals
        return self.number(Fraction(micros, MICRO), digits)

    def decimals_of_sum(self, micros: int, currency: str) -> int:
        """Return the decimals that a sum needs: the usual ones, and two more where these would say too little."""
        usual: int = get_currency_precision(currency)
        is_small: bool = 0 < abs(micros) * 10**usual < MICRO * 10 ** (_TELLING_DIGITS - 1)
        return usual + 2 * is_small

    def length(self, value: timedelta) -> str:
        """Return how long something lasted, like 1h30m."""
        return format_duration(value.total_seconds())

    def moment(self, at: datetime, zone: ZoneInfo, form: MomentForm = "minute") -> str:
        """Return an instant in `zone`, as is understood everywhere."""
        return f"{at.astimezone(zone):{_MOMENT_FORMATS[form]}}"


def _digits_that_matter(micros: int, currency: str) -> int:
    """Return how many decimals an amount has, and at least as many as are usual: two for most, none for JPY."""
    fraction = f"{abs(micros) % MICRO:06}".rstrip("0")
    return max(get_currency_precision(currency), len(fraction))


def _rounded(value: int | Decimal | Fraction, decimals: int) -> Decimal:
    """Return the nearest decimal (half to even); babel would go through a context of 28 digits, and knows -0."""
    return Decimal(round(Fraction(value) * 10**decimals)).scaleb(-decimals)


def _pattern(decimals: int) -> str:
    return f"#,##0.{'0' * decimals}" if decimals else "#,##0"
