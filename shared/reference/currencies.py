"""The currencies of ISO 4217 with their minor units.

From list one of the maintenance agency (SIX), published 2026-01-01. Codes without a minor unit (metals, units of
account, test codes) are no money that a bill or an agreement can be in, and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

_BY_PLACES: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
        "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
        "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK "
        "MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD "
        "RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH "
        "USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_PLACES: Mapping[str, int] = {code: places for places, codes in _BY_PLACES.items() for code in codes.split()}
CODES = frozenset(_PLACES)  # to join with in SQL


def known(code: str) -> bool:
    """Whether it is the code of a currency, in capitals."""
    return code in _PLACES


def minor_units(code: str) -> int:
    """The decimals of the currency's smallest coin; raises KeyError for what is no currency."""
    return _PLACES[code]
