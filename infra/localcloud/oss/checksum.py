"""CRC-64/XZ (ECMA-182), the checksum OSS returns as `x-oss-hash-crc64ecma`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

# crcmod writes a polynomial with its leading bit, and reflected computation as `rev`.
POLYNOMIAL: Final = 0x142F0E1EBA9EA3693
REFLECTED: Final = 0xC96C5795D7870F42
ALL_ONES: Final = 0xFFFFFFFFFFFFFFFF

Update = Callable[[bytes, int], int]


def _table_driven() -> Update:
    """The checksum in plain Python: right, but slow; used where crcmod's C extension is missing."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (REFLECTED if value & 1 else 0)
        table.append(value)

    def update(data: bytes, before: int) -> int:
        value = before ^ ALL_ONES
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ ALL_ONES

    return update


def _fastest() -> Update:
    try:
        import crcmod
        import crcmod._crcfunext  # without it crcmod itself falls back to plain Python
    except ImportError:
        return _table_driven()
    return cast(Update, crcmod.mkCrcFun(POLYNOMIAL, initCrc=0, rev=True, xorOut=ALL_ONES))


# update(data, checksum so far) gives the checksum of both; start with 0.
update: Update = _fastest()
