"""The demo's sandbox: a directory in memory, in a mount namespace of its own, and the processes that it starts."""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from cli.dev import namespaces
from cli.dev.namespaces import Rights
from cli.dev.stopping import STOP_SIGNALS

STOP_SECONDS = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def directory(rights: Rights) -> Iterator[Path]:
    """A directory on a tmpfs: however the demo ends, its content vanishes with the namespace. Raises Refused."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    path = Path(tempfile.mkdtemp(prefix="secrets-store-demo-"))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a signal that was blocked is delivered here
        mounted = _libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"mode=0755")
        namespaces.check(mounted, "a tmpfs cannot be mounted", rights)
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
            "demo.tethered",
            str(os.getpid()),
            *command,
            stdout=output,
            stderr=output,
            start_new_session=True,
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
