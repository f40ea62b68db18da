"""Keeps a process from handing freed memory back to the system between the tensors of a training step."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` in the C library's `malloc.h`."""
LIMITS_BYTES = (1 << 30, 1 << 25)
"""Blocks up to here are kept; older versions of the library refuse more than the smaller limit."""


def keep_freed_pages() -> bool:
    """Makes the C library keep large freed blocks for the next tensors; says whether it could.

    By itself glibc returns them to the system, which clears every page anew when it is touched again; in a small
    network that is a good part of a training step on the CPU, and one that varies with the machine's load. Only glibc
    has these parameters; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, max(LIMITS_BYTES))) and any(
        mallopt(M_MMAP_THRESHOLD, limit) for limit in LIMITS_BYTES
    )
