"""Categories as numbers: hexadecimal strings, hashed into the buckets of their column.

The hash is FarmHash's ``Fingerprint64``, which TensorFlow's ``string_to_hash_bucket_fast`` is made
of, of the eight characters of the category and then the number of its column (0 to 25) in decimal
digits; the bucket is the remainder of the division by the column's number of buckets.

Source: FarmHash by Geoff Pike, https://github.com/google/farmhash, of which strings of 8 to 16
bytes need one branch alone. All arithmetic is modulo 2**64.
"""

import numpy as np

# How many different categories each column has.
NUM_BUCKETS = (
    *(39_884_406, 39_043, 17_289, 7_420, 20_263, 3, 7_120, 1_543, 63, 38_532_951, 2_953_546),
    *(403_346, 10, 2_208, 11_938, 155, 4, 976, 14, 39_979_771, 25_641_295, 39_664_984, 585_935),
    *(12_972, 108, 36),
)

MISSING = np.frombuffer(b"00000000", "<u8")[0]  # stands for an empty field

_K2 = 0x9AE16A3B2F90404F
_EACH_BYTE = 0x0101010101010101


def bucket_ids(words: np.ndarray, column: int) -> np.ndarray:
    """The buckets of the categories of one column.

    Args:
      words: the eight characters of each category as one little-endian number: uint64, (n,).
      column: number of the column, from 0.

    Returns:
      int32, (n,), from 0 to the column's number of buckets - 1.
    """
    buckets = np.uint64(NUM_BUCKETS[column])
    # NumPy divides by a constant many times faster than it takes remainders.
    hashes = fingerprints(words, str(column).encode())
    return (hashes - hashes // buckets * buckets).astype(np.int32)


def fingerprints(words: np.ndarray, suffix: bytes) -> np.ndarray:
    """``Fingerprint64`` of eight characters and ``suffix``, up to eight bytes more: uint64, (n,).

    ``words`` are the eight characters as little-endian numbers: uint64, (n,).
    """
    length = 8 + len(suffix)
    multiplier = np.uint64((_K2 + 2 * length) % 2**64)
    shift = np.uint64(8 * len(suffix))
    tail = np.uint64(int.from_bytes(suffix, "little") << (64 - 8 * len(suffix)))
    first = words + np.uint64(_K2)
    last = (words >> shift) | tail  # the last eight bytes
    c = _rotate_right(last, 37) * multiplier + first
    d = (_rotate_right(first, 25) + last) * multiplier
    mixed = _xor_shift((c ^ d) * multiplier)
    return _xor_shift((d ^ mixed) * multiplier) * multiplier


def are_hexadecimal(words: np.ndarray) -> np.ndarray:
    """Whether the eight characters in each of ``words`` are all in 0-9a-f: bool, (n,).

    Eight bytes are compared at once: adding 128 - c to a byte below 128 sets its highest bit if the
    byte is at least c.
    """

    def at_least(character: int) -> np.ndarray:
        return words + np.uint64((128 - character) * _EACH_BYTE)

    digits = at_least(ord("0")) & ~at_least(ord("9") + 1)
    letters = at_least(ord("a")) & ~at_least(ord("f") + 1)
    highest = np.uint64(0x80 * _EACH_BYTE)
    return ((digits | letters) & ~words & highest) == highest


def _rotate_right(values: np.ndarray, count: int) -> np.ndarray:
    return (values >> np.uint64(count)) | (values << np.uint64(64 - count))


def _xor_shift(values: np.ndarray) -> np.ndarray:
    return values ^ (values >> np.uint64(47))
