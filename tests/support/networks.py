"""Networks as clusters have them, each in a network namespace of the test's own: with one or both families of
addresses, or a kernel without IPv6.

A network namespace belongs to a thread and to what that thread starts: other threads, processes. So a test runs in a
thread of its own, and the rest of the test run stays where it is.
"""

import ctypes
import errno
import fcntl
import platform
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.waiting import wait_until

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_IFNAMSIZ, _IFF_UP = 16, 1
_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_LOOPBACK = b"lo"
_IPV6_OFF = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")

# linux/filter.h, linux/seccomp.h; the numbers of socket() are in asm/unistd_64.h and asm-generic/unistd.h
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _FIRST_ARGUMENT = 0, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SOCKET = {"x86_64": 41, "aarch64": 198}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Network:
    """What the loopback interface, the only one, has; ``api`` is the address of the API server's service."""

    name: str
    addresses: tuple[str, ...]
    api: str
    kernel_has_ipv6: bool = True


IPV4, IPV6 = ("127.0.0.1",), ("::1", "fd00::1")
NETWORKS = (
    Network("IPv6 only", IPV6, "fd00::1"),
    Network("dual stack, IPv6 first", IPV4 + IPV6, "fd00::1"),
    Network("dual stack, IPv4 first", IPV4 + IPV6, "127.0.0.1"),
    Network("IPv6 disabled by sysctl", IPV4, "127.0.0.1"),
    Network("a kernel without IPv6", IPV4, "127.0.0.1", kernel_has_ipv6=False),
)


def run_in(network: Network, test: Callable[[], Result]) -> Result:
    """Run ``test`` in a thread that is in such a network, and return its result.

    Skips the calling test on a machine that does not let it make one.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=network.name) as pool:
        try:
            pool.submit(_enter, network).result()
        except OSError as error:
            pytest.skip(f"no network namespace with {network.name} on this machine: {error}")
        pool.submit(_wait_usable, network).result()
        return pool.submit(test).result()


def _enter(network: Network) -> None:
    """Leave the machine's network for a new one. The addresses of a new loopback interface are 127.0.0.1 and ::1."""
    _check(_libc.unshare(_CLONE_NEWNET))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack(f"{_IFNAMSIZ}sH14x", _LOOPBACK, _IFF_UP))
        if not set(IPV4) & set(network.addresses):
            removed = struct.pack(f"{_IFNAMSIZ}sHH4s8x", _LOOPBACK, socket.AF_INET, 0, bytes(4))
            fcntl.ioctl(control, _SIOCSIFADDR, removed)
    if set(IPV6) & set(network.addresses):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
            address = socket.inet_pton(socket.AF_INET6, network.api if ":" in network.api else IPV6[1])
            added = struct.pack("16sIi", address, 128, socket.if_nametoindex(_LOOPBACK.decode()))
            fcntl.ioctl(control, _SIOCSIFADDR, added)
    elif network.kernel_has_ipv6:
        _IPV6_OFF.write_text("1")
    else:
        _refuse_ipv6_sockets()


def _wait_usable(network: Network) -> None:
    wait_until(lambda: all(map(_usable, network.addresses)), "the new addresses to be usable")


def _usable(address: str) -> bool:
    """Whether a server can listen at an address: the kernel takes a moment to finish a new one of IPv6."""
    try:
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            return True
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        return False


def _refuse_ipv6_sockets() -> None:
    """Let socket(AF_INET6, …) fail in this thread and in what it starts, as it does after ``ipv6.disable=1``."""
    if platform.machine() not in _SOCKET:
        raise OSError(errno.ENOSYS, f"no filter for {platform.machine()}")
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _NUMBER),
            (_JUMP_IF_EQUAL, 0, 3, _SOCKET[platform.machine()]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_IF_EQUAL, 0, 1, socket.AF_INET6),
            (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
            (_RETURN, 0, 0, _ALLOW),
        )
    )

    class Program(ctypes.Structure):
        """struct sock_fprog."""

        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    code = ctypes.create_string_buffer(program, len(program))
    wanted = Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0))


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{errno.errorcode.get(error, error)}")
