"""Calls of libc that report a failure by a negative result and errno."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise the OSError of the call that has just returned ``result``, if that is negative."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
