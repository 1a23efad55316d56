"""What Probe answers: not ready only for what a restart of the container mends."""

import asyncio
import ctypes
import os
from pathlib import Path

import pytest

from driver import health
from driver.health import Health
from protos import csi_pb2, csi_pb2_grpc
from runtime import rpc
from tests.support.rig import rig

_MS_BIND, _MS_SHARED, _MS_PRIVATE = 4096, 1 << 20, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look each time."""
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)


def mount(source: Path | None, target: Path, flags: int) -> None:
    """mount(2)."""
    result = _libc.mount(os.fsencode(source) if source else None, os.fsencode(target), None, flags, None)
    assert result == 0, os.strerror(ctypes.get_errno())


def test_starting() -> None:
    """Not ready while it starts, with the reason."""
    found = Health()
    assert not found.ready and found.snapshot()["reason"] == "the driver is starting"
    found.started = True
    assert found.ready


def test_directory_deleted_on_the_node(tmp_path: Path) -> None:
    """A mounted directory whose original was removed is a dead inode: only a restart mends that."""
    original, ours = tmp_path / "original", tmp_path / "ours"
    original.mkdir()
    ours.mkdir()
    mount(original, ours, _MS_BIND)
    found = Health(watched=[str(ours)], started=True)
    assert found.ready
    original.rmdir()
    assert not found.ready
    assert "was deleted on the node" in found.broken


def test_directory_that_never_was(tmp_path: Path) -> None:
    """A directory that is not there is no reason to restart: it would not be there after that either."""
    assert Health(watched=[str(tmp_path / "absent")], started=True).ready


def test_lost_propagation(tmp_path: Path) -> None:
    """A pods directory that was shared and is no more: not ready; one that never was (a laptop): ready."""
    pods = tmp_path / "pods"
    pods.mkdir()
    mount(pods, pods, _MS_BIND)
    assert Health(shared=str(pods), started=True).ready
    mount(None, pods, _MS_SHARED)
    found = Health(shared=str(pods), started=True)
    assert found.ready
    mount(None, pods, _MS_PRIVATE)
    assert not found.ready and "no longer reach the node" in found.broken


def test_probe_tells_it(tmp_path: Path) -> None:
    """Probe answers ready false, and true again if it is mended; a missing provider is no matter for Probe, but for
    /readyz."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.driver.health.watched = [str(tmp_path / "watched")]
            assert (await it.identity.Probe(csi_pb2.ProbeRequest())).ready.value
            assert it.driver.snapshot()["not_ready_reasons"] == []
            it.provider.crash()
            it.provider.path.unlink(missing_ok=True)
            assert (await it.identity.Probe(csi_pb2.ProbeRequest())).ready.value
            assert "no provider is installed" in it.driver.snapshot()["not_ready_reasons"][0]

    asyncio.run(run())


@pytest.mark.parametrize("which", ["plugin", "providers"])
def test_probe_tells_of_a_deleted_directory(tmp_path: Path, which: str) -> None:
    """The directory of our own socket, or that of the providers', is removed on the node: the connection that is open
    tells not ready, where a new one would find no socket."""
    original, ours = tmp_path / "original", tmp_path / "ours"
    original.mkdir()
    ours.mkdir()
    mount(original, ours, _MS_BIND)

    async def run() -> None:
        socket = ours / "csi.sock" if which == "plugin" else tmp_path / "csi.sock"
        directories = {"additional_provider_volume_paths": (str(ours),)} if which == "providers" else {}
        async with rig(tmp_path, endpoint=f"unix://{socket}", **directories), rpc.dial(str(socket)) as channel:
            identity = csi_pb2_grpc.IdentityStub(channel)
            assert (await identity.Probe(csi_pb2.ProbeRequest())).ready.value
            for path in original.iterdir():
                path.unlink()
            original.rmdir()
            assert not (await identity.Probe(csi_pb2.ProbeRequest())).ready.value

    try:
        asyncio.run(run())
    finally:
        _libc.umount2(os.fsencode(ours), 2)


def test_reads_the_mount_table_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of probes a second cost one look."""
    monkeypatch.setattr(health, "FRESH_SECONDS", 60.0)
    looks = 0

    def counted(path: str) -> bool:
        nonlocal looks
        looks += 1
        return False

    monkeypatch.setattr(health, "_is_deleted", counted)
    found = Health(watched=[str(tmp_path)], started=True)
    for _ in range(1000):
        assert found.ready
    assert looks == 1
