"""The command: prepare the sandbox, play the story, report how it ended. ``python -m demo openbao`` plays it
with a real OpenBao server."""

import asyncio
import signal
import sys
from pathlib import Path

from demo import sandbox
from demo.checks import StepFailed
from demo.node import Node
from demo.openbao import OpenBaoNode
from demo.story import play

NODES = {"stub": Node, "openbao": OpenBaoNode}
INTERRUPTED_EXIT_CODE = 130
LOG_TAIL_CHARACTERS = 4000


def main() -> int:
    """Returns 0 only if all steps succeeded."""
    store = sys.argv[1] if len(sys.argv) > 1 else "stub"
    if store not in NODES:
        raise SystemExit(f"demo: unknown store {store!r}: it must be one of {', '.join(NODES)}")
    for number in sandbox.STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    sandbox.enter_namespace()
    with sandbox.directory() as directory:
        try:
            asyncio.run(play(NODES[store](directory)))
        except KeyboardInterrupt:
            print("demo: interrupted; all processes and mounts were removed", file=sys.stderr)
            return INTERRUPTED_EXIT_CODE
        except (StepFailed, TimeoutError) as error:
            print(f"demo: FAILED: {error or 'a step took too long'}", file=sys.stderr)
            show_logs(directory)
            return 1
    print("demo: every step was checked")
    return 0


def show_logs(directory: Path) -> None:
    """Print the end of each process's log, to help find the cause of a failure."""
    for path in sorted(directory.glob("*.log")):
        print(f"--- {path.name}", path.read_text()[-LOG_TAIL_CHARACTERS:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
