"""Which currencies there are, and how large their units are."""

from __future__ import annotations

from costctl.errors import BadValueError

# ISO 4217, those in use as money (no metals, funds or test codes).
_LIST = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV
WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
_CODES = frozenset(_LIST.split())
# Roughly what a dollar is worth, to a power of ten: enough to tell a price from a placeholder.
_UNITS_PER_DOLLAR = {
    **dict.fromkeys(("ARS", "CLP", "COP", "CRC", "HUF", "KZT", "LKR", "NGN", "PKR", "XAF", "XOF", "YER"), 1_000),
    **dict.fromkeys(("AMD", "DZD", "ISK", "INR", "JPY", "KES", "NPR", "PHP", "RSD", "RUB", "TRY", "UAH"), 100),
    **dict.fromkeys(("IDR", "VND", "LAK", "IRR", "UZS", "LBP", "GNF", "PYG", "UGX", "KHR", "MMK", "SYP"), 10_000),
    **dict.fromkeys(("IQD", "KRW", "MNT", "TZS"), 1_000),
}


def is_currency(code: str) -> bool:
    """Return whether `code` is a currency that people pay in."""
    return code in _CODES


def read_currency(text: str) -> str:
    """Return the code of the currency that `text` names.

    Raises:
        BadValueError: it names none in use.
    """
    code = text.strip().upper()
    if not is_currency(code):
        raise BadValueError(f"{text!r} is not a currency in use: write its ISO 4217 code, like CNY or USD")
    return code


def units_per_dollar(code: str) -> int:
    """Return the order of magnitude of a dollar in this currency; 1 for those like the dollar, euro or yuan."""
    return _UNITS_PER_DOLLAR.get(code, 1)
