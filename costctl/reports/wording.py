"""The reader's language: words from catalogs, and numbers, money and times as they are written in it."""

from __future__ import annotations

import gettext
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent

from costctl import resources
from costctl.domain.durations import format_duration
from costctl.domain.money import MICRO
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from costctl.reports.outline import MomentForm

_LOCALES = {"en": "en", "zh": "zh_Hans_CN"}
_DOMAIN = "costctl"
# English readers get ISO codes: "CN¥" is foreign to them, and no ASCII.
_MONEY_FORMATS = {"en": "#,##0.00 ¤¤", "zh": None}
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

    def number(self, value: int | Decimal | Fraction, decimals: int = 0) -> str:
        """Return a number, rounded to `decimals`."""
        pattern = f"#,##0.{'0' * decimals}" if decimals else "#,##0"
        return format_decimal(_decimal(value), format=pattern, locale=self.locale)

    def share(self, fraction: Fraction, decimals: int = 1) -> str:
        """Return a share in percent."""
        pattern = f"#,##0.{'0' * decimals}%" if decimals else "#,##0%"
        return format_percent(_decimal(fraction), format=pattern, locale=self.locale)

    def amount(self, micros: int, currency: str, decimals: int | None = None) -> str:
        """Return money with its currency, to `decimals`, or with all digits that matter (at least two)."""
        amount = Decimal(micros) / MICRO
        digits = _digits(amount) if decimals is None else decimals
        pattern = _MONEY_FORMATS[self.language] or self.locale.currency_formats["standard"].pattern
        pattern = pattern.replace("0.00", f"0.{'0' * digits}" if digits else "0")
        return format_currency(amount, currency, format=pattern, locale=self.locale, currency_digits=False)

    def plain_amount(self, micros: int, decimals: int) -> str:
        """Return money without its currency, for columns whose heading says it."""
        return self.number(Decimal(micros) / MICRO, decimals)

    def length(self, value: timedelta) -> str:
        """Return how long something lasted, like 1h30m."""
        return format_duration(value.total_seconds())

    def moment(self, at: datetime, zone: ZoneInfo, form: MomentForm = "minute") -> str:
        """Return an instant in `zone`."""
        local = at.astimezone(zone)
        if form == "day":
            return format_date(local.date(), format="yyyy-MM-dd", locale=self.locale)
        pattern = "yyyy-MM-dd HH:mm:ss" if form == "second" else "yyyy-MM-dd HH:mm"
        return format_datetime(local, format=pattern, locale=self.locale)


def _decimal(value: int | Decimal | Fraction) -> Decimal | int:
    return Decimal(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _digits(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return max(2, -exponent if isinstance(exponent, int) else 2)
