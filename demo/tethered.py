"""Runs a module as ``python -m`` does, until the process that started it ends: ``python -m demo.tethered PARENT MODULE
ARGUMENTS…``, where PARENT is that process's id.

It asks the kernel for this itself, since the demo has threads: whatever it did in a child between fork and exec
(``preexec_fn``) might wait for ever for a lock of theirs.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tether this process, and run the module."""
    _, parent, *sys.argv = sys.argv
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):  # else it has ended already
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
