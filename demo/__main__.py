"""The command: prepare the sandbox, play the story, report how it ended."""

import asyncio
import signal
import sys
from pathlib import Path

from demo import sandbox
from demo.checks import StepFailed
from demo.node import Node
from demo.story import play

INTERRUPTED_EXIT_CODE = 130
LOG_TAIL_CHARACTERS = 4000


def main() -> int:
    """Returns 0 only if all steps succeeded."""
    for number in sandbox.STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    sandbox.enter_namespace()
    with sandbox.directory() as directory:
        try:
            asyncio.run(play(Node(directory)))
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
