"""The demo's sandbox: its own mount namespace, a directory in memory, and the processes that it starts."""

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
# Ctrl-C, the cancellation of a CI job, and the closing of a terminal: each ends the demo in good order.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespace() -> None:
    """Enter a new mount namespace, which hides the demo's mounts from the machine; without root, together with a user
    namespace in which this process is root. Call it while the process has a single thread.
    """
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWNS | (0 if uid == 0 else _CLONE_NEWUSER)), "a new mount namespace")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "private mount propagation")


def _check(result: int, what: str) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SystemExit(
            f"demo: cannot create {what}: {reason}. Run it as root, or allow user namespaces on this machine."
        )


@contextmanager
def directory() -> Iterator[Path]:
    """A directory on a tmpfs: however the demo ends, its content vanishes with the namespace."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    path = Path(tempfile.mkdtemp(prefix="secrets-store-demo-"))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a signal that was blocked is delivered here
        _check(_libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"mode=0755"), "a tmpfs")
        try:
            yield path
        finally:
            _libc.umount2(os.fsencode(path), 2)  # MNT_DETACH: the namespace ends with this process
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        shutil.rmtree(path, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@asynccontextmanager
async def running(log: Path, command: Sequence[str]) -> AsyncIterator[psutil.Process]:
    """Run ``python -m command`` inside the context; its output goes to ``log``.

    It has its own session, so that Ctrl-C reaches only the demo, which then stops its processes in order.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_terminate_with_parent,
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


def _terminate_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
