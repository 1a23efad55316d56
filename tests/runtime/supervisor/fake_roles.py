"""A supervisor with roles that do as they are told: ``python -m tests.runtime.supervisor.fake_roles '{"driver":
"serve"}'``."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import grpc

from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy, Role
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
        say(
            json.dumps(
                {
                    "comm": comm.read().strip(),
                    "handlers": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
                    "fds": sorted(os.listdir("/proc/self/fd")),
                    "threads": threads,
                    "tempdir": tempfile.tempdir,
                }
            )
        )
    return serve(name)


def role_table_reader(name: str) -> int:
    """Tell the role_table whenever asked by SIGUSR1."""
    signal.signal(signal.SIGUSR1, lambda *_: say(json.dumps([vars(state) for state in ROLE_TABLE.states()])))
    return serve(name)


def die_once_up(name: str) -> int:
    """End just after the supervisor believes in it, and not well."""
    say(f"{name} up")
    time.sleep(START_SECONDS + 0.05)
    return 4


def tidy(name: str) -> int:
    """Take a while to stop."""
    signal.signal(signal.SIGTERM, partial(tidying, name))
    say(f"{name} up")
    while True:
        signal.pause()


def tidying(name: str, *_: object) -> None:
    say(f"{name} stopping")
    time.sleep(0.6)
    say(f"{name} tidy")
    sys.exit(0)


def flood(name: str) -> int:
    """Write a line that never ends."""
    os.write(1, b"x" * 200_000)
    return serve(name)


def leave_with_text(name: str) -> int:
    """Exit as scripts do."""
    sys.exit("no such thing")


def leave_with_nothing(name: str) -> int:
    """Exit well, long after the start."""
    time.sleep(START_SECONDS + 0.05)
    sys.exit()


def whoami(name: str) -> int:
    """Tell the user."""
    say(f"{name} is user {os.getuid()}")
    return serve(name)


START_SECONDS = 0.3
ORDER = {"registrar": 0, "driver": 1, "probe": 2}
ROLE_TABLE = RoleTable(list(ORDER))
BEHAVIOURS: dict[str, Callable[[str], int]] = {
    function.__name__: function
    for function in (
        serve,
        stubborn,
        die,
        die_late,
        bug,
        mumble,
        orphan,
        env,
        role_table_reader,
        die_once_up,
        tidy,
        flood,
        leave_with_text,
        leave_with_nothing,
        whoami,
    )
}
POLICY = RestartPolicy(start_seconds=START_SECONDS, start_retries=4, restarts=5, window_seconds=30.0, first_pause=0.05)


def wrong_thread() -> object:
    thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    thread.start()
    return thread


def wrong_channel() -> object:
    return grpc.insecure_channel("unix:///nowhere")


def wrong_loop() -> object:
    return asyncio.new_event_loop()


WRONG = {"thread": wrong_thread, "channel": wrong_channel, "loop": wrong_loop}


def main() -> int:
    wanted = json.loads(sys.argv[1])
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    policy = replace(POLICY, **options.pop("policy", {}))
    kept = [WRONG[what]() for what in options.pop("wrong", [])]
    if options.pop("slow_fork", False):
        os.register_at_fork(after_in_child=partial(time.sleep, 0.5))
    if user := options.pop("user", 0):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    stop_seconds = options.pop("stop_seconds", 1.0)
    roles = [Role(name, partial(BEHAVIOURS[how], name), ORDER[name], stop_seconds) for name, how in wanted.items()]
    code = supervise(roles, ROLE_TABLE, policy=policy, **options)
    del kept
    times = os.times()
    say(f"supervisor used {times.user + times.system:.2f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
