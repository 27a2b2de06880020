"""Definitions that several seeded faults add to a module of the reference executor."""

from __future__ import annotations

from typing import Final

#: `flush(x)`: fp32 x with subnormals replaced by zeros of their sign.
FLUSH: Final = """
def flush(x):
    x = np.asarray(x, dtype=np.float32)
    small = np.abs(x) < np.float32(2.0**-126)
    return np.where(small, np.copysign(np.float32(0), x), x).astype(np.float32)
"""

#: `towards_zero(wide)`, `away_on_ties(wide)`: fp32 of float64 values that are exact, or to odd.
ROUNDINGS: Final = """
def towards_zero(wide):
    with np.errstate(all="ignore"):
        wide = np.asarray(wide, dtype=np.float64)
        near = wide.astype(np.float32)
        above = np.abs(near.astype(np.float64)) > np.abs(wide)
        return np.where(above, np.nextafter(near, np.float32(0)), near)


def away_on_ties(wide):
    with np.errstate(all="ignore"):
        wide = np.asarray(wide, dtype=np.float64)
        near = wide.astype(np.float32)
        next_one = np.nextafter(near, np.copysign(np.float32(np.inf), near))
        middle = (near.astype(np.float64) + next_one.astype(np.float64)) / 2
        tie = np.isfinite(next_one) & (middle == wide) & (wide != 0)
        return np.where(tie, next_one, near)


def exact_sum(a, b):
    with np.errstate(all="ignore"):
        wide = _two_sum(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
        return _to_odd(*wide)


def exact_product(a, b):
    with np.errstate(all="ignore"):
        return np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64)
"""
