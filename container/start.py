"""The console script: block the signals that stop the container, then import and run the rest.

For PID 1 the kernel drops signals without a handler (pid_namespaces(7)). An order to stop that arrives during the
imports, which take half a second, or several under a CPU limit, would be lost, and kubelet would wait for the pod's
whole grace period. Blocked, the signal stays pending until the supervisor handles it.
"""

import os
import signal

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def main() -> int:
    """Returns the container's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    # gRPC's C core prints what a peer sends, such as the text of a GOAWAY frame, and a peer that knows secrets may send
    # them back. What is worth knowing reaches us as errors, so nothing is printed, unless somebody asks for it. The
    # variable is read when gRPC is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from container.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
