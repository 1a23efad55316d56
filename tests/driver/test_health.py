"""When Probe answers "not ready": only if a restart of the container helps."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from driver import health
from driver.health import Health
from kubelet_stub.dialing import dial
from protos import csi_pb2, csi_pb2_grpc
from tests.support.descriptors import no_descriptor_left
from tests.support.mounts import bind, share, unshare
from tests.support.rig import rig


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not cache the result."""
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)


def test_starting() -> None:
    """Not ready while the driver starts, with the reason."""
    found = Health()
    assert not found.ready and found.snapshot()["reason"] == "the driver is starting"
    found.started = True
    assert found.ready


def test_directory_deleted_on_the_node(tmp_path: Path) -> None:
    """The original of a mounted directory was deleted: only a restart helps."""
    original, ours = tmp_path / "original", tmp_path / "ours"
    original.mkdir()
    ours.mkdir()
    bind(original, ours)
    found = Health(watched=[str(ours)], started=True)
    assert found.ready
    original.rmdir()
    assert not found.ready
    assert "was deleted on the node" in found.broken


def test_directory_that_never_existed(tmp_path: Path) -> None:
    """A directory that does not exist is not a reason to restart: it would not exist after that either."""
    assert Health(watched=[str(tmp_path / "absent")], started=True).ready


def test_lost_propagation(tmp_path: Path) -> None:
    """A pods directory that was shared and no longer is: not ready. One that never was, as outside a container:
    ready."""
    pods = tmp_path / "pods"
    pods.mkdir()
    bind(pods, pods)
    assert Health(shared=str(pods), started=True).ready
    share(pods)
    found = Health(shared=str(pods), started=True)
    assert found.ready
    unshare(pods)
    assert not found.ready and "no longer reach the node" in found.broken


def test_probe(tmp_path: Path) -> None:
    """Probe follows the state of the directories; a missing provider does not matter to Probe, but to /readyz."""

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
def test_probe_after_a_directory_was_deleted(tmp_path: Path, which: str) -> None:
    """The directory of the driver's own socket, or that of the providers' sockets, is deleted on the node: Probe
    answers on an open connection, where a new one would find no socket."""
    original, ours = tmp_path / "original", tmp_path / "ours"
    original.mkdir()
    ours.mkdir()
    bind(original, ours)

    async def run() -> None:
        socket = ours / "csi.sock" if which == "plugin" else tmp_path / "csi.sock"
        directories = {"additional_provider_volume_paths": (str(ours),)} if which == "providers" else {}
        async with rig(tmp_path, endpoint=f"unix://{socket}", **directories), dial(str(socket)) as channel:
            identity = csi_pb2_grpc.IdentityStub(channel)
            assert (await identity.Probe(csi_pb2.ProbeRequest())).ready.value
            for path in original.iterdir():
                path.unlink()
            original.rmdir()
            assert not (await identity.Probe(csi_pb2.ProbeRequest())).ready.value

    asyncio.run(run())


def test_result_is_cached_for_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of probes in a second look at the directories once."""
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


def test_no_descriptor_left(tmp_path: Path) -> None:
    """The driver has run out of descriptors, so that the mount table cannot be read → what was known before still
    holds, ready or not, and is checked again when there are some."""
    bind(tmp_path, tmp_path)
    share(tmp_path)
    found = Health(shared=str(tmp_path), started=True)
    with no_descriptor_left():
        with pytest.raises(OSError) as raised:
            os.close(os.open("/", os.O_RDONLY))
        assert raised.value.errno == errno.EMFILE
        assert found.ready and found.snapshot()["reason"] == ""
    unshare(tmp_path)
    assert not found.ready
    with no_descriptor_left():
        assert not found.ready and "no longer reach the node" in found.broken
    share(tmp_path)
    assert found.ready


@pytest.mark.parametrize("error", [errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_unreadable_mount_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """The mount table cannot be read for another reason → the same; and so it is before the first check."""
    bind(tmp_path, tmp_path)
    share(tmp_path)
    found = Health(shared=str(tmp_path), started=True)

    def fail(path: str) -> bool:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr("driver.health.mountinfo.is_shared", fail)
        assert found.ready
    assert found.ready
