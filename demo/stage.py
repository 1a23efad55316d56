"""Where the demo plays: a mount namespace of its own, a directory that is gone afterwards, and the processes."""

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_PR_SET_PDEATHSIG = 1
STOP_SECONDS = 20.0
# Ctrl-C, a CI job that is cancelled, a terminal that is closed: all end the demo in order.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespace() -> None:
    """Leave the machine's mount table; without root become root of a user namespace first. The process has one thread
    yet."""
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWNS | (0 if uid == 0 else _CLONE_NEWUSER)), "a namespace of its own")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")


def _check(result: int, what: str) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SystemExit(
            f"demo: this machine does not allow {what}: {reason}. Run it as root, or allow user namespaces."
        )


@contextmanager
def directory() -> Iterator[Path]:
    """A directory in memory: what is written there is gone with the namespace, however the demo ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    path = Path(tempfile.mkdtemp(prefix="secrets-store-demo-"))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)  # one that came meanwhile arrives here
        _check(_libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"mode=0755"), "a tmpfs")
        try:
            yield path
        finally:
            _libc.umount2(os.fsencode(path), 2)  # MNT_DETACH: the namespace ends with this process anyway
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        shutil.rmtree(path, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


@asynccontextmanager
async def running(log: Path, command: Sequence[str]) -> AsyncIterator[psutil.Process]:
    """A process that Ctrl-C does not reach directly, so that the end is in order; its output goes to ``log``."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_us,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with_us() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
