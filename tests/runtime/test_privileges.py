"""What a process can no longer do, tried in a process that has given it up."""

import asyncio
import ctypes
import errno
import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from runtime.privileges import NOTHING, VOLUMES, Privileges, restrict, seccomp
from tests.support.forking import in_fork

libc = ctypes.CDLL(None, use_errno=True)


def in_child(privileges: Privileges, attempt: Callable[[], object]) -> str:
    """Restrict another process, and attempt something there: what came of it, as text."""
    return in_fork(partial(_restricted, privileges, attempt))


def _restricted(privileges: Privileges, attempt: Callable[[], object]) -> str:
    restrict(privileges)
    try:
        return f"{attempt()}"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")


def call(function: str, *args: object) -> None:
    """A function of libc that must not succeed."""
    if getattr(libc, function)(*args) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def system_call(number: int, *args: object) -> None:
    """A system call by its number."""
    call("syscall", number, *args)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "mount": lambda: call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None),
    "umount": lambda: call("umount2", b"/proc", 2),
    "unshare": lambda: call("unshare", 0x00020000),
    "user namespace": lambda: call("unshare", 0x10000000),
    "setns": lambda: call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
    "chroot": lambda: os.chroot("/tmp"),
    "ptrace": lambda: call("ptrace", 16, os.getppid(), 0, 0),
    "process_vm_readv": lambda: call("process_vm_readv", os.getppid(), None, 0, None, 0, 0),
    "bpf": lambda: system_call(321, 0, 0, 0),
    "io_uring": lambda: system_call(425, 1, 0),
    "userfaultfd": lambda: system_call(323, 0),
    "keyctl": lambda: system_call(250, 0, 0, 0),
    "perf": lambda: system_call(298, 0, 0, -1, -1, 0),
    "mknod": lambda: os.mknod("/tmp/device-of-a-test", 0o600 | 0o020000, os.makedev(1, 3)),
    "module": lambda: system_call(313, 0, 0, 0),
    "clock": lambda: system_call(227, 0, 0),
    "x32": lambda: system_call(0x40000000 | 39),
}


def attempt_by_name(name: str) -> object:
    """One of ``ATTEMPTS``: functions without a name cannot be handed to another process."""
    return ATTEMPTS[name]()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_refused_without_privileges(attempt: str) -> None:
    """Scenario: what an intruder in the probe or the registrar would try next. Expected: not permitted."""
    assert in_child(NOTHING, partial(attempt_by_name, attempt)) in ("EPERM", "EACCES")


@pytest.mark.parametrize("attempt", ["memory", "environ", "descriptors"])
def test_the_parents_secrets_are_closed(attempt: str) -> None:
    """Scenario: the driver's memory, environment and descriptors, read by a process of the same user that lacks its
    privileges, where the parent has given up being dumpable. Expected: not permitted."""
    program = f"""
import os, sys
from runtime.privileges import NOTHING, VOLUMES, restrict
restrict(VOLUMES)
if os.fork() == 0:
    restrict(NOTHING)
    path = f"/proc/{{os.getppid()}}/"
    try:
        {{"memory": lambda: open(path + "mem", "rb"), "environ": lambda: open(path + "environ", "rb").read(),
          "descriptors": lambda: os.readlink(path + "fd/1")}}[{attempt!r}]()
        print("open")
    except OSError as error:
        print(type(error).__name__)
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "PermissionError", done.stderr


def state() -> str:
    """Sets of capabilities, no new privileges, the filter and the limit of core dumps, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    core = next(line for line in Path("/proc/self/limits").read_text().splitlines() if "core" in line)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return " ".join([*(status[name] for name in names), status["NoNewPrivs"], status["Seccomp"], core.split()[4]])


@pytest.mark.parametrize(("privileges", "kept"), [(NOTHING, 0), (VOLUMES, 0x2000DB)])
def test_the_kernels_view(privileges: Privileges, kept: int) -> None:
    """Scenario: the state of a restricted process in /proc. Expected: the capabilities that it names at most, in every
    set, no new privileges, a filter where there is to be one, no core dumps."""
    inherited, permitted, effective, bounding, ambient, no_new, filtered, core = in_child(privileges, state).split()
    assert int(inherited, 16) == int(ambient, 16) == 0
    for found in (permitted, effective, bounding):
        assert int(found, 16) & ~kept == 0
    assert (no_new, filtered, core) == ("1", "2" if privileges.filtered else "0", "0")


def talk() -> str:
    """With oneself, through an event loop and a thread."""

    async def work() -> str:
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        writer.write(b"hello")
        right.setblocking(False)
        said = await asyncio.get_running_loop().sock_recv(right, 5)
        writer.close()
        right.close()
        return said.decode() + await asyncio.to_thread(Path("/proc/self/comm").read_text)

    return asyncio.run(work()).strip()


def test_a_restricted_process_still_talks() -> None:
    """Scenario: threads, sockets, files and an event loop under the filter. Expected: all of it works."""
    assert in_child(NOTHING, talk).startswith("hello")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filters_program(machine: str) -> None:
    """Scenario: the BPF program, run by an interpreter of the test. Expected: each refused number is refused, its
    neighbours are allowed, and so are read, write and futex."""
    code = seccomp.build(machine)
    program = [struct.unpack("HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    column = ["x86_64", "aarch64"].index(machine)
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    refused = {pair[column] for pair in seccomp.REFUSED.values()} - {None}

    def verdict(number: int, arch: int = architecture) -> bool:
        at, value = 0, 0
        while True:
            code, on_true, on_false, operand = program[at]
            at += 1
            if code == 0x20:
                value = arch if operand == 4 else number
            elif code == 0x06:
                return bool(operand == 0x7FFF0000)
            else:
                hit = value == operand if code == 0x15 else value >= operand
                at += on_true if hit else on_false

    assert all(verdict(number) == (number not in refused) for number in range(500))
    assert not verdict(1, arch=0x40000003) and not verdict(0x40000001)


def restrict_on_riscv64() -> list[str] | str:
    """As on a machine that the filter does not know; a process of its own has nothing to restore."""
    platform.machine = lambda: "riscv64"
    return restrict(NOTHING)


def test_an_unknown_architecture_is_reported_and_survived() -> None:
    """Scenario: a machine whose system calls have other numbers. Expected: everything else is given up, and one text
    says what is not."""
    said = str(in_fork(restrict_on_riscv64))
    assert "system calls" in said and "riscv64" in said
