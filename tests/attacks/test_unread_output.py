"""Nobody reads the container's log while a role writes without pause: supervision goes on."""

import asyncio
import errno
import os
import pty
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from provider_stub.running import running
from tests.attacks.calls import publish, target_path, write_class
from tests.container.test_whole import Container
from tests.runtime.supervisor.rig import SupervisorRig, supervisor_rig
from tests.support.mounts import unmount_below
from tests.support.waiting import wait_until

ROLES = {"driver": "flood", "registrar": "serve", "probe": "serve"}


def wait_stuck(rig: SupervisorRig) -> None:
    """Wait until the supervisor has read (and dropped) more than it may keep: the driver's writes go on for ever."""
    driver = psutil.Process(rig.pid_of("driver"))
    before = driver.io_counters().write_chars
    wait_until(lambda: driver.io_counters().write_chars > before + 5_000_000, "a flood of 5 MB")


def supervision_works(rig: SupervisorRig) -> None:
    """A killed role comes back at once, memory stays bounded, and SIGTERM ends the container with exit code 0."""
    old = rig.pid_of("driver")
    os.kill(old, signal.SIGKILL)
    started = time.monotonic()
    rig.wait_new_pid("driver", old)
    print(f"restarted after {time.monotonic() - started:.2f} s")
    assert time.monotonic() - started < 10.0
    assert psutil.Process(rig.process.pid).memory_info().rss < 150e6
    rig.process.terminate()
    started = time.monotonic()
    assert rig.exit_code() == 0
    print(f"ended after {time.monotonic() - started:.2f} s")


def make_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("make", [os.pipe, make_socket, pty.openpty])
def test_nobody_reads(tmp_path: Path, make: Callable[[], tuple[int, int]]) -> None:
    """A pipe, a socket or a terminal that nobody reads, and a role that writes for ever → the role is not held up, is
    restarted when killed, and the container stops when told to."""
    reader, writer = make()
    with supervisor_rig(ROLES, tmp_path, stream=writer) as rig:
        wait_stuck(rig)
        supervision_works(rig)
    os.close(reader)
    os.close(writer)


def test_the_reader_comes_back(tmp_path: Path) -> None:
    """The reader stops for a while → what it then reads is whole lines, and one that says how many are missing."""
    reader, writer = os.pipe()
    with supervisor_rig(ROLES, tmp_path, stream=writer) as rig:
        wait_stuck(rig)
        found = b""
        deadline = time.monotonic() + 15
        readable = select.poll()
        readable.register(reader, select.POLLIN)
        while b"Lines were dropped here" not in found and time.monotonic() < deadline:
            if readable.poll(1000):
                found += os.read(reader, 1 << 20)
        assert b'"Lines were dropped here, because the container\'s output was not read" lines=' in found
        *whole, _ = found.split(b"\n")
        prefixes = (b"[driver] ", b"[registrar] ", b"[probe] ", b"[supervisor] ")
        assert [line for line in whole if not line.startswith(prefixes)] == []
        rig.process.terminate()
        assert rig.exit_code() == 0
    os.close(reader)
    os.close(writer)


def test_the_reader_is_gone(tmp_path: Path) -> None:
    """The reader's end is closed while the supervisor writes → as if nobody read, and the supervisor does not spin."""
    reader, writer = os.pipe()
    with supervisor_rig({**ROLES, "driver": "serve"}, tmp_path, stream=writer, verbosity=2) as rig:
        wait_until(lambda: b"probe up" in os.read(reader, 65536), "the roles")
        os.close(reader)
        os.close(writer)
        old = rig.pid_of("driver")
        os.kill(old, signal.SIGKILL)
        rig.wait_new_pid("driver", old)
        supervisor = psutil.Process(rig.process.pid)
        before = sum(supervisor.cpu_times()[:2])
        time.sleep(1.5)  # what is measured is a rate
        assert sum(supervisor.cpu_times()[:2]) - before < 0.4
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_the_disk_is_full(tmp_path: Path) -> None:
    """The log is a file on a full disk (/dev/full answers as one does) → roles are restarted and stopped all the
    same."""
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError) as raised:
        os.write(full, b"x")
    assert raised.value.errno == errno.ENOSPC
    with supervisor_rig(ROLES, tmp_path, stream=full) as rig:
        wait_stuck(rig)
        supervision_works(rig)
    os.close(full)


def test_no_output_at_all(tmp_path: Path) -> None:
    """The container is started with stdout and stderr closed → the roles' pipes do not take their numbers."""
    prefix = ("sh", "-c", 'exec "$@" >&- 2>&-', "sh")
    with supervisor_rig({**ROLES, "driver": "serve"}, tmp_path, prefix=prefix) as rig:
        old = rig.pid_of("driver")
        os.kill(old, signal.SIGKILL)
        rig.wait_new_pid("driver", old)
        assert os.readlink(f"/proc/{rig.process.pid}/fd/2") == "/dev/null"
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_publishes_while_nobody_reads(tmp_path: Path) -> None:
    """The whole container at -v=5, whose log nobody reads, and 300 publishes that fail with long texts → a well-behaved
    pod's publishes, /healthz and the end are about as fast as with a reader."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDWR | os.O_NONBLOCK)  # the container opens it without waiting
    container = Container(tmp_path, "-v=5")
    write_class(tmp_path, "wrong", "nobody", {"x": "y"})
    store = tmp_path / "store"
    try:
        wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")
        write_class(tmp_path, "fine", "stub", {"objects": "- objectName: password"})

        async def run() -> None:
            async with running(tmp_path / "providers" / "stub.sock", store):
                quiet = await asyncio.to_thread(timed, tmp_path, "quiet")
                for number in range(300):
                    target = target_path(tmp_path, f"x{number}")
                    await asyncio.to_thread(publish, tmp_path, f"x{number}", "absent" + "y" * 200, {}, {})
                    assert not target.exists()
                busy = await asyncio.to_thread(timed, tmp_path, "busy")
                print(f"publish: {quiet * 1000:.0f} ms, while nobody reads {busy * 1000:.0f} ms")
                assert busy < 4 * quiet + 2.0  # who waits for the reader does so for ever

        asyncio.run(run())
        started = time.monotonic()
        assert container.fetch("/healthz") == (200, "ok")
        assert time.monotonic() - started < 5.0
        container.process.terminate()
        assert container.process.wait(20) == 0
    finally:
        if container.process.poll() is None:
            container.process.kill()
            container.process.wait()
        os.close(reader)
        unmount_below(tmp_path / "kubelet")


def timed(directory: Path, name: str) -> float:
    """The median of five publishes of a well-behaved pod, in seconds."""
    took = []
    for number in range(5):
        started = time.monotonic()
        assert publish(directory, f"{name}-{number}", "fine", {}, {}) == ""
        took.append(time.monotonic() - started)
    return sorted(took)[2]
