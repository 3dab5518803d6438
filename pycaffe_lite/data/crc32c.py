"""CRC-32C, the sum with which LevelDB guards all that it stores.

What a byte adds to the sum depends on its value and on how many bytes follow, so that the bytes of a chunk can be
looked up all at once. The sum of what came before is added to a chunk's first four bytes.
"""

from __future__ import annotations

import functools

import numpy as np

_CHUNK = 1024


@functools.cache
def _table() -> np.ndarray:
    """For each place in a chunk, what each value of a byte there adds to the sum."""
    base = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        base = base >> 1 ^ np.where(base & 1, np.uint32(0x82F63B78), np.uint32(0))
    made = np.empty((_CHUNK, 256), np.uint32)
    made[-1] = base
    for place in range(_CHUNK - 2, -1, -1):
        made[place] = made[place + 1] >> 8 ^ base[made[place + 1] & 0xFF]
    return made


def crc(data: bytes) -> int:
    """The CRC-32C of at least four bytes."""
    table = _table()
    pad = -len(data) % _CHUNK
    padded = np.zeros(pad + len(data), np.uint8)  # zeros in front add nothing
    padded[pad:] = np.frombuffer(data, np.uint8)
    padded[pad : pad + 4] ^= 0xFF
    chunks = padded.reshape(-1, _CHUNK)
    first = table[:4].tolist()
    total = 0
    for added in np.bitwise_xor.reduce(table[np.arange(_CHUNK), chunks], axis=1).tolist():
        for place in range(4):
            added ^= first[place][total >> 8 * place & 0xFF]
        total = added
    return total ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    """The sum as LevelDB stores it: a sum over bytes that hold sums would be weak."""
    value = crc(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
