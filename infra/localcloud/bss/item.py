"""A bill item as it is kept: what repeats day after day once, what differs each time, and amounts twice.

Amounts are kept as the digits they were given in, because a bill answers exactly those, and as whole numbers of
10^-10 yuan, because SQLite adds whole numbers exactly. Nothing here passes through a float.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b

from infra.localcloud.common import LocalCloudError

PLACES = 10
AMOUNTS = (
    "PretaxGrossAmount",
    "InvoiceDiscount",
    "AfterDiscountAmount",
    "DeductedByCoupons",
    "PretaxAmount",
    "DeductedByCashCoupons",
    "DeductedByPrepaidCard",
    "PaymentAmount",
    "OutstandingAmount",
    "CashAmount",
    "AdjustAmount",
)
# Numbers that the service writes as text, and that differ from line to line of one instance.
READINGS = ("Usage", "DeductedByResourcePackage", "ServicePeriod", "ListPrice")
# Part of the overview, but no field of an item: an item's PretaxAmount is what is left after it.
ROUND_DOWN = "RoundDownDiscount"

_TEXTS = {
    "Item": "PayAsYouGoBill",
    "SubscriptionType": "PayAsYouGo",
    "Currency": "CNY",
    "OwnerID": "",
    "ProductCode": "",
    "ProductType": "",
    "PipCode": "",
    "CommodityCode": "",
    "ProductName": "",
    "ProductDetail": "",
    "BillingItem": "",
    "BillingItemCode": "",
    "BillingType": "",
    "BizType": "",
    "CostUnit": "",
    "InstanceConfig": "",
    "InstanceID": "",
    "InstanceSpec": "",
    "InternetIP": "",
    "IntranetIP": "",
    "ItemName": "",
    "ListPriceUnit": "",
    "NickName": "",
    "Region": "",
    "ResourceGroup": "",
    "ServicePeriodUnit": "",
    "Tag": "",
    "UsageUnit": "",
    "Zone": "",
}
# They have values only where a bill is asked for by billing item.
BILLING_ITEM_FIELDS = frozenset({"BillingItem", "BillingItemCode", "ListPriceUnit", "UsageUnit"})
BILLING_ITEM_READINGS = frozenset({"Usage", "DeductedByResourcePackage", "ListPrice"})
# An item may carry them, as a part of a resource that several share; only the split bill shows them.
SPLIT_FIELDS = frozenset(
    {"SplitItemID", "SplitItemName", "SplitAccountID", "SplitAccountName", "SplitCommodityCode", "SplitProductDetail"}
)
# Said of every item by the bill it is on.
_OF_THE_BILL = frozenset({"BillAccountID", "BillAccountName", "BillingDate"})

_INT64 = 1 << 63
_POWERS: tuple[int, ...] = tuple(10 ** (PLACES - places) for places in range(PLACES + 1))


@dataclass(frozen=True, slots=True)
class ShapeKeys:
    """By what the lines of a shape are grouped; `shape` is made from all of its texts."""

    shape: int
    instance: int
    item: int


@dataclass(frozen=True, slots=True)
class Line:
    """One item, taken apart. `texts` are what the lines of one instance and billing item have in common."""

    keys: ShapeKeys
    texts: dict[str, str]
    readings: tuple[str, ...]
    digits: str
    scaled: tuple[int, ...]
    round_down: int

    @property
    def is_zero(self) -> bool:
        """Whether `IsHideZeroCharge` hides it: gross and payable amount are both 0."""
        return self.scaled[0] == 0 and self.scaled[4] == 0

    def body(self) -> str:
        """The texts as the inside of a JSON object."""
        return json.dumps(self.texts, ensure_ascii=False, separators=(",", ":"))[1:-1]


class Dissector:
    """Takes items of one payer apart; remembers the keys of the shapes it met, since most come every day."""

    _REMEMBERED = 200_000

    def __init__(self, payer: str) -> None:
        self._texts = _TEXTS | {"OwnerID": payer}
        self._keys: dict[int, ShapeKeys] = {}

    def take_apart(self, fields: Mapping[str, Decimal | str]) -> Line:
        """The parts of an item; fields it does not name are the skeleton's, its owner the payer itself."""
        texts, readings, amounts = self._texts.copy(), _NO_READINGS.copy(), _NO_AMOUNTS.copy()
        round_down = "0"
        for name, value in fields.items():
            if name in amounts:
                if not isinstance(value, Decimal):
                    raise LocalCloudError(f"{name} of a bill item is an amount and must be a Decimal, not {value!r}")
                amounts[name] = digits(value)
            elif not isinstance(value, str):
                raise LocalCloudError(f"{name} of a bill item is a text and must be a str, not {value!r}")
            elif name in readings:
                readings[name] = value
            elif name == ROUND_DOWN:
                round_down = value
            elif name not in _OF_THE_BILL:
                texts[name] = value
        return Line(
            self._keys_of(texts),
            texts,
            tuple(readings.values()),
            " ".join(amounts.values()),
            tuple([scaled(text) for text in amounts.values()]),
            scaled(round_down),
        )

    def _keys_of(self, texts: dict[str, str]) -> ShapeKeys:
        content = "\0".join(texts.values())
        if len(texts) > len(self._texts):
            content = "\0".join((content, *texts))  # fields newer than the skeleton
        shape = _hash(content, 63)
        keys = self._keys.get(shape)
        if keys is None:
            if len(self._keys) >= self._REMEMBERED:
                self._keys.clear()
            keys = self._keys[shape] = _shape_keys(shape, texts)
        return keys


_NO_READINGS = dict.fromkeys(READINGS, "0")
_NO_AMOUNTS = dict.fromkeys(AMOUNTS, "0")


def digits(value: Decimal) -> str:
    """The amount as its decimal digits, every one it has, without an exponent."""
    text = str(value)
    return format(value, "f") if "E" in text else text


def scaled(text: str) -> int:
    """An amount given by its digits in 10^-10 yuan; one that does not fit is refused rather than rounded."""
    if text == "0":
        return 0
    whole, _, part = text.partition(".")
    if len(part) > PLACES:
        part = part.rstrip("0")
    if len(part) > PLACES:
        raise LocalCloudError(f"an amount of a bill item has at most {PLACES} decimals, {text} has more")
    try:
        number = int(whole + part) * _POWERS[len(part)]
    except ValueError:
        raise LocalCloudError(f"an amount of a bill item is written in digits, not {text!r}") from None
    if not -_INT64 < number < _INT64:
        raise LocalCloudError(f"the amount {text} of a bill item is too large to be kept exactly")
    return number


def unscaled(number: int) -> str:
    """The digits of an amount in 10^-10 yuan, without trailing zeros."""
    sign, (whole, part) = "-" if number < 0 else "", divmod(abs(number), 10**PLACES)
    return f"{sign}{whole}.{part:0{PLACES}d}".rstrip("0").rstrip(".")


_INSTANCE_BITS = 31


def instance_key_range(instance_id: str) -> tuple[int, int]:
    """The first and last instance key that lines of the instance can have."""
    first = _hash(instance_id, _INSTANCE_BITS) << 32
    return first, first + (1 << 32) - 1


def _shape_keys(shape: int, texts: dict[str, str]) -> ShapeKeys:
    return ShapeKeys(
        shape,
        instance_key_range(texts["InstanceID"])[0] + _hash("\0".join([texts[name] for name in _INSTANCE_KEY]), 32),
        _hash(texts["BillingItemCode"] or texts["BillingItem"], 63),
    )


# What makes two lines charges of one instance. Localised names and late attributes are no part of it.
_INSTANCE_KEY = (
    "OwnerID",
    "InstanceID",
    "ProductCode",
    "ProductType",
    "PipCode",
    "CommodityCode",
    "SubscriptionType",
    "Item",
    "BizType",
    "Currency",
)


def _hash(text: str, bits: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> (64 - bits)
