"""The console script: block the signals that stop the container, then import and run the rest.

For PID 1 the kernel drops signals without a handler (pid_namespaces(7)). An order to stop that arrives during the
imports, which take half a second, or several under a CPU limit, would be lost, and kubelet would wait for the pod's
whole grace period. Blocked, the signal stays pending until the supervisor handles it.
"""

import gc
import signal

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def main() -> int:
    """Returns the container's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    # Nothing that is imported is garbage; to look for some again and again takes a twentieth of the start.
    gc.disable()
    try:
        from container.main import main as run
    finally:
        gc.freeze()
        gc.enable()
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
