"""How alike two vectors are."""

import math

from torch import Tensor


def cosine(found: Tensor, expected: Tensor) -> float:
    """The cosine between two vectors; not a number where one of them is zero or not finite."""
    value = float(found @ expected / (found.norm() * expected.norm()))
    return value if math.isnan(value) else max(-1.0, min(1.0, value))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The distance between two vectors over the norm of the expected one."""
    return float((found - expected).norm() / expected.norm())
