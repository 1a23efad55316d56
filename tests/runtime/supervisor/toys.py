"""A supervisor with roles that do as they are told: ``python -m tests.runtime.supervisor.toys '{"driver":
"serve"}'``."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from runtime.supervisor.board import Board
from runtime.supervisor.roles import Limits, Role
from runtime.supervisor.supervise import supervise


def serve(name: str) -> int:
    """Live until SIGTERM."""
    signal.signal(signal.SIGTERM, partial(stopped, name))
    say(f"{name} up")
    while True:
        signal.pause()


def stopped(name: str, *_: object) -> None:
    say(f"{name} stopping")
    sys.exit(0)


def say(text: str) -> None:
    print(text, flush=True)


def stubborn(name: str) -> int:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(f"{name} up")
    while True:
        signal.pause()


def die(name: str) -> int:
    """End at once."""
    say(f"{name} up")
    return 3


def die_late(name: str) -> int:
    """End just after the supervisor believes in it."""
    say(f"{name} up")
    time.sleep(START_SECONDS + 0.1)
    return 0


def bug(name: str) -> int:
    """Raise."""
    raise ValueError("password=hunter2")


def mumble(name: str) -> int:
    """Write a whole line, half a line, and end."""
    os.write(1, b"whole\nhalf")
    os.write(2, b'{"json": true}\n')
    time.sleep(START_SECONDS + 0.05)
    return 0


def orphan(name: str) -> int:
    """Leave a grandchild behind, then serve."""
    subprocess.Popen(["sh", "-c", "(sleep 0.2 &) ; exit 0"]).wait()
    return serve(name)


def env(name: str) -> int:
    """Tell what the child has inherited."""
    with open("/proc/self/comm") as comm:
        threads = threading.active_count()
        say(json.dumps({"comm": comm.read().strip(), "handlers": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
                        "fds": sorted(os.listdir("/proc/self/fd")), "threads": threads}))
    return serve(name)


def board_reader(name: str) -> int:
    """Tell the board whenever asked by SIGUSR1."""
    signal.signal(signal.SIGUSR1, lambda *_: say(json.dumps([vars(state) for state in BOARD.states()])))
    return serve(name)


START_SECONDS = 0.3
ORDER = {"registrar": 0, "driver": 1, "probe": 2}
BOARD = Board(list(ORDER))


def main() -> int:
    wanted = json.loads(sys.argv[1])
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if options.pop("thread", False):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    behaviours: dict[str, Callable[[str], int]] = {
        function.__name__: function
        for function in (serve, stubborn, die, die_late, bug, mumble, orphan, env, board_reader)}
    roles = [
        Role(name, partial(behaviours[how], name), ORDER[name], stop_seconds=1.0) for name, how in wanted.items()]
    limits = Limits(start_seconds=START_SECONDS, start_retries=4, restarts=5, window_seconds=30.0, first_pause=0.05)
    return supervise(roles, BOARD, limits=limits, **options)


if __name__ == "__main__":
    sys.exit(main())
