"""The console script: what must be done before the rest is imported.

The first process of a container has no default action for a signal: an order to stop that comes during the imports,
half a second, several under a CPU limit, would be lost, and kubelet would wait out the pod's whole grace period. So it
waits, blocked, until the supervisor can take it.
"""

import signal

_ORDERS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def main() -> int:
    """Returns the container's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
    from container.main import main as supervised

    return supervised()


if __name__ == "__main__":
    raise SystemExit(main())
