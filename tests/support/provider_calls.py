"""Calling a provider: the request as the driver builds it, over a channel as the driver opens it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kubelet_stub.dialing import dial
from protos import provider_pb2, provider_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]

POD = {
    "csi.storage.k8s.io/pod.name": "app-1",
    "csi.storage.k8s.io/pod.namespace": "default",
    "csi.storage.k8s.io/pod.uid": "uid-1",
    "csi.storage.k8s.io/serviceAccount.name": "app",
    "secretProviderClass": "app",
}


def mount_message(target: str = "/target", **parameters: str) -> provider_pb2.MountRequest:
    """A request with the strings that the driver sends."""
    return provider_pb2.MountRequest(
        attributes=json.dumps({**POD, **parameters}), secrets="null", target_path=target, permission="420"
    )


@asynccontextmanager
async def stub_of(path: Path, largest: int = -1) -> AsyncIterator[Any]:
    """The provider's methods over a channel that waits for nothing."""
    async with dial(str(path), [("grpc.max_receive_message_length", largest)]) as channel:
        yield provider_pb2_grpc.CSIDriverProviderStub(channel)


async def mount(path: Path, target: str = "/target", **parameters: str) -> provider_pb2.MountResponse:
    """One Mount call."""
    async with stub_of(path) as stub:
        reply: provider_pb2.MountResponse = await stub.Mount(mount_message(target, **parameters), timeout=20)
        return reply


async def refused(path: Path, code: grpc.StatusCode, target: str = "/target", **parameters: str) -> str:
    """One Mount call that ends with ``code``; returns its sentence."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mount(path, target, **parameters)
    assert caught.value.code() == code, caught.value.details()
    return caught.value.details() or ""


def files(reply: provider_pb2.MountResponse) -> Mapping[str, bytes]:
    """Contents by path."""
    return {item.path: item.contents for item in reply.files}


def versions(reply: provider_pb2.MountResponse) -> Mapping[str, str]:
    """Versions by id."""
    return {item.id: item.version for item in reply.object_version}


# Ends the process of the old socket, without a chance to remove it, and starts another on the same path.
_RESTART = """
import os, signal, subprocess, sys
pids, command = sys.argv[1], sys.argv[2:]
os.kill(int(open(pids).read()), signal.SIGKILL)
open(pids, "w").write(str(subprocess.Popen(command, stderr=subprocess.DEVNULL).pid))
"""


@asynccontextmanager
async def restartable(
    command: Sequence[str], socket: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[list[str]]:
    """A provider process that serves, as ``started``; yields a command that kills it and starts it again."""
    pids = socket.with_suffix(".pid")
    async with started(command, socket, environment) as process:
        pids.write_text(str(process.pid))
        assignments = [f"{name}={value}" for name, value in (environment or {}).items()]
        again = ["env", f"--chdir={ROOT}", *assignments, *command, "--endpoint", f"unix://{socket}"]
        try:
            yield [sys.executable, "-c", _RESTART, str(pids), *again]
        finally:
            if int(pids.read_text()) != process.pid:
                os.kill(int(pids.read_text()), signal.SIGKILL)


@asynccontextmanager
async def started(
    command: Sequence[str],
    socket: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A provider process that serves; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        "--endpoint",
        f"unix://{socket}",
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert process.stderr is not None
        while line := await asyncio.wait_for(process.stderr.readline(), 20):
            if b"Serving" in line:
                break
        else:
            pytest.fail(f"{command[0]} did not serve")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
