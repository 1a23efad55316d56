"""A supervisor with fake roles, each a function below: ``python -m tests.runtime.supervisor.fake_roles '{"driver":
"serve"}'``. A second JSON object has options, see ``main``."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc

from kubelet_stub.dialing import dial
from protos import provider_pb2, provider_pb2_grpc
from runtime import logs, process
from runtime.supervisor import role_output
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy, Role
from runtime.supervisor.supervise import supervise
from tests.attacks.goaway import TEXT, serve_goaway

PRINTED = b"plain password=canary-1234-s3cr3t\n" + TEXT + b"\n\n" + b"x" * 20_000 + b" token=canary-1234-s3cr3t\n"

log = logs.get(__name__)


def say(text: str) -> None:
    """Write a line at once. ``print`` must not be called by a signal handler while it is running already."""
    os.write(1, f"{text}\n".encode())


def wait_for_signals(name: str, on_sigterm: Callable[..., object] | signal.Handlers) -> NoReturn:
    """Say that the role is up, once it handles SIGTERM, and wait for signals for ever."""
    signal.signal(signal.SIGTERM, on_sigterm)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)  # signal.pause() would wait on if one came just before it
    say(f"{name} up")
    while True:
        os.read(reader, 1)


def serve(name: str) -> int:
    """Serve until SIGTERM."""

    def stop(*_: object) -> None:
        say(f"{name} stopping")
        sys.exit(0)

    wait_for_signals(name, stop)


def ignore_sigterm(name: str) -> int:
    """Ignore SIGTERM."""
    wait_for_signals(name, signal.SIG_IGN)


def die(name: str) -> int:
    """Exit at once."""
    say(f"{name} up")
    return 3


def die_late(name: str) -> int:
    """Exit shortly after the start counts as a success."""
    say(f"{name} up")
    time.sleep(START_SECONDS + 0.1)
    return 0


def bug(name: str) -> int:
    """Raise an exception with a secret in its text."""
    raise ValueError("password=hunter2")


def write_half_a_line(name: str) -> int:
    """Write a line, a line without its newline and a JSON line, and exit."""
    os.write(1, b"whole\nhalf")
    os.write(2, b'{"json": true}\n')
    time.sleep(START_SECONDS + 0.05)
    return 0


def leave_orphan(name: str) -> int:
    """Leave a grandchild behind that ends later, then serve."""
    subprocess.Popen(["sh", "-c", "(sleep 0.2 &) ; exit 0"]).wait()
    return serve(name)


def report_environment(name: str) -> int:
    """Report what the child has inherited, then serve."""
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
    """Print the role table at each SIGUSR1."""
    signal.signal(signal.SIGUSR1, lambda *_: say(_table_as_json()))
    return serve(name)


def _table_as_json() -> str:
    own = {"name": "supervisor", "memory": ROLE_TABLE.own_memory}
    return json.dumps([*(state._asdict() for state in ROLE_TABLE.states()), own])


def die_once_up(name: str) -> int:
    """Exit with an error shortly after the start counts as a success."""
    say(f"{name} up")
    time.sleep(START_SECONDS + 0.05)
    return 4


def stop_slowly(name: str) -> int:
    """Take a while to stop after SIGTERM."""

    def stop(*_: object) -> None:
        say(f"{name} stopping")
        time.sleep(0.6)
        say(f"{name} stopped")
        sys.exit(0)

    wait_for_signals(name, stop)


def write_endless_line(name: str) -> int:
    """Write a long line without a newline, then serve."""
    os.write(1, b"x" * 200_000)
    return serve(name)


def speak_twice(name: str) -> int:
    """Say that it is up, and soon after that it still is, then serve."""
    say(f"{name} up")
    time.sleep(0.3)
    say("and up still")
    return serve(name)


def meet_goaway(name: str) -> int:
    """Call a server that answers with a hostile GOAWAY, and log the call's error as the driver does."""
    path = Path(tempfile.mkdtemp()) / "evil.sock"
    serve_goaway(path)
    asyncio.run(_call(path))
    return serve(name)


async def _call(path: Path) -> None:
    async with dial(str(path)) as channel:
        stub: provider_pb2_grpc.CSIDriverProviderAsyncStub = provider_pb2_grpc.CSIDriverProviderStub(channel)
        try:
            await stub.Version(provider_pb2.VersionRequest(version="v1alpha1"), timeout=1.0)
        except grpc.aio.AioRpcError as error:
            log.warning("The call failed", reason=error.details(), code=error.code().name)


def work(name: str) -> int:
    """Work in an event loop, as all real roles do, until SIGTERM; block the loop for ever at SIGUSR1."""
    return process.run(_work(name))


async def _work(name: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, threading.Event().wait)
    say(f"{name} up")
    await stop.wait()
    say(f"{name} stopping")


def print_badly(name: str) -> int:
    """Print, past the log, in each way in which libraries and the interpreter do, then serve."""
    os.write(2, PRINTED)
    print("a plain line")
    warnings.warn("a warning with password=canary-1234-s3cr3t", stacklevel=1)
    thread = threading.Thread(target=_fail, name="worker")
    thread.start()
    thread.join()
    os.write(2, b"half a line, then ")
    log.info("A line of ours", secret="default/app-tls")
    return serve(name)


def _fail() -> None:
    raise ValueError("token=canary-1234-s3cr3t\nsecond \x1b[31mline")


def flood(name: str) -> int:
    """Write numbered lines, without a pause, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    number = 0
    while True:
        number += 1
        os.write(2, b"".join(b"%s line %d %s\n" % (name.encode(), number, b"x" * 400) for _ in range(20)))


def exit_with_text(name: str) -> int:
    """Exit with a message, as scripts do."""
    sys.exit("no such thing")


def exit_with_nothing(name: str) -> int:
    """Exit without a code, after the start counts as a success."""
    time.sleep(START_SECONDS + 0.05)
    sys.exit()


def report_user(name: str) -> int:
    """Report the user, then serve."""
    say(f"{name} is user {os.getuid()}")
    return serve(name)


START_SECONDS = 0.3
ORDER = {"registrar": 0, "driver": 1, "probe": 2}
ROLE_TABLE = RoleTable(list(ORDER))
BEHAVIOURS: dict[str, Callable[[str], int]] = {
    function.__name__: function
    for function in (
        serve,
        ignore_sigterm,
        die,
        die_late,
        bug,
        write_half_a_line,
        leave_orphan,
        report_environment,
        role_table_reader,
        die_once_up,
        stop_slowly,
        write_endless_line,
        speak_twice,
        work,
        meet_goaway,
        print_badly,
        flood,
        exit_with_text,
        exit_with_nothing,
        report_user,
    )
}
POLICY = RestartPolicy(
    start_seconds=START_SECONDS, start_retries=4, max_restarts=5, window_seconds=30.0, first_delay=0.05
)


def wrong_thread() -> object:
    thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    thread.start()
    return thread


def wrong_channel() -> object:
    return grpc.insecure_channel("unix:///nowhere")


def wrong_loop() -> object:
    return asyncio.new_event_loop()


class FailingReads:
    """In place of the module ``os``: the first reads fail with an error number, or with a MemoryError for 0."""

    def __init__(self, number: int, times: int) -> None:
        self._number, self._times = number, times

    def read(self, fd: int, size: int) -> bytes:
        self._times -= 1
        if self._times < 0:
            return os.read(fd, size)
        raise OSError(self._number, os.strerror(self._number)) if self._number else MemoryError


WRONG = {"thread": wrong_thread, "channel": wrong_channel, "loop": wrong_loop}


def main() -> int:
    wanted = json.loads(sys.argv[1])
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    policy = POLICY._replace(**options.pop("policy", {}))
    kept = [WRONG[what]() for what in options.pop("wrong", [])]
    if options.pop("slow_fork", False):
        os.register_at_fork(after_in_child=partial(time.sleep, 0.5))
    if user := options.pop("user", 0):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    for number, times in options.pop("failing_reads", []):
        vars(role_output)["os"] = FailingReads(number, times)
    if seconds := options.pop("read_failure_seconds", 0.0):
        vars(role_output)["READ_FAILURE_SECONDS"] = seconds
    stop_seconds = options.pop("stop_seconds", 1.0)
    report_usage = options.pop("report_usage", False)
    roles = [Role(name, partial(BEHAVIOURS[how], name), ORDER[name], stop_seconds) for name, how in wanted.items()]
    code = supervise(roles, ROLE_TABLE, policy=policy, **options)
    del kept
    if report_usage:
        times = os.times()
        say(f"supervisor used {times.user + times.system:.2f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
