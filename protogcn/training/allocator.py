"""What the C library does with the memory that tensors free."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Keep freed memory in this process for the next tensor, instead of handing it back to the system.

    The C library of Linux maps every tensor above 32 MB anew and gives it back when it is freed, so each step touches
    gigabytes of fresh pages, which the system has to clear first. Nothing is changed where there is another library,
    or where the environment chooses an allocator or its settings (``MALLOC_*``, ``GLIBC_TUNABLES``, ``LD_PRELOAD``).

    Returns:
        Whether memory is kept from now on.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(_CHOSEN) for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # The largest threshold: -1 as an unsigned number.
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
