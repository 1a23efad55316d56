"""The command: prepare the sandbox, play the story, report how it ended. ``python -m demo openbao`` plays it
with a real OpenBao server."""

import asyncio
import io
import os
import sys
from pathlib import Path

from cli.dev import namespaces
from cli.dev.stopping import interrupt_once
from demo import sandbox
from demo.checks import StepFailed
from demo.node import Node
from demo.openbao import OpenBaoNode
from demo.story import play

NODES = {"stub": Node, "openbao": OpenBaoNode}
INTERRUPTED_EXIT_CODE = 130
LOG_TAIL_CHARACTERS = 4000
NEXT_STEPS = {
    "docs/tutorial.md": "a class and a provider of your own, in ten minutes",
    "secrets-store validate FILE": "check a class before it is deployed",
    "README.md, Try it": "in kind, minikube or a cluster that you have",
}


def main() -> int:
    """Returns 0 only if all steps succeeded."""
    store = sys.argv[1] if len(sys.argv) > 1 else "stub"
    if store not in NODES:
        raise SystemExit(f"demo: unknown store {store!r}: it must be one of {', '.join(NODES)}")
    interrupt_once()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some of the characters
    rights = namespaces.Rights.own()
    try:
        namespaces.enter(rights)
        with sandbox.directory(rights) as directory:
            return _play(NODES[store](directory), directory)
    except namespaces.Refused as refused:
        print(f"demo: {refused}", file=sys.stderr)
        return 1


def _play(node: Node, directory: Path) -> int:
    try:
        asyncio.run(play(node))
        program = Path(sys.executable).with_name("secrets-store")
        next_steps = {**NEXT_STEPS, **node.more_of_the_store}
        steps = {what.replace("secrets-store", _shown(program), 1): why for what, why in next_steps.items()}
        node.output.next_steps(steps)
    except KeyboardInterrupt:
        print("demo: interrupted; all processes and mounts were removed", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:  # `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at exit
        return 1
    except (StepFailed, TimeoutError) as error:
        node.output.failed(str(error) or "a step took too long")
        show_logs(directory)
        return 1
    return 0


def _shown(program: Path) -> str:
    """A path as it is typed from here."""
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def show_logs(directory: Path) -> None:
    """Print the end of each process's log, to help find the cause of a failure."""
    for path in sorted(directory.glob("*.log")):
        print(f"--- {path.name}", path.read_text()[-LOG_TAIL_CHARACTERS:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
