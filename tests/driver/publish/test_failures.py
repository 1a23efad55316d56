"""How failures of a publish are counted, and the status codes that kubelet receives."""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from driver.volume import operations, walk
from tests.support.mounts import bind
from tests.support.rig import Rig, Volume, rig

PASSWORD = "- objectName: password"


def spec(**parameters: str) -> dict[str, Any]:
    """Parameters for the class, beside the usual ones."""
    return {"parameters": {"objects": PASSWORD, **parameters}}


def counted(it: Rig) -> dict[tuple[str, str], float]:
    """The counts of failed publishes by provider and error type."""
    [family] = [family for family in it.driver.metrics.registry.collect() if family.name == "node_publish_error"]
    return {
        (sample.labels["provider"], sample.labels["error_type"]): sample.value
        for sample in family.samples
        if sample.name == "node_publish_error_total"
    }


@pytest.mark.parametrize(
    ("change", "provider", "error_type"),
    [
        ({"provider": ""}, "", "FailedToMount"),
        ({"parameters": {}}, "stub", "FailedToMount"),
        ({"provider": "../stub"}, "other", "GRPCProviderError"),
        ({"provider": "absent"}, "absent", "GRPCProviderError"),
        (spec(stubError="NOT_FOUND"), "stub", "GRPCProviderError"),
        (spec(stubReply="no-versions"), "stub", "GRPCProviderError"),
        (spec(stubErrorCode="Forbidden"), "stub", "Forbidden"),
        (spec(stubReply="dot-dot"), "stub", "FileWriteError"),
        (spec(stubReply="conflict"), "stub", "FileWriteError"),
    ],
)
def test_errors_of_class_and_provider(tmp_path: Path, change: dict[str, Any], provider: str, error_type: str) -> None:
    """A class that cannot be used, an unknown provider, an error or an invalid reply of the provider: each has its
    error type."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(**change)
            await it.volume().failure()
            assert counted(it) == {(provider, error_type): 1}

    asyncio.run(run())


async def unknown_class(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """The class does not exist."""
    return it.volume(class_name="absent")


async def malformed_class(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """The class cannot be read."""
    (it.manifests / "a.yaml").write_text("kind: SecretProviderClass\nmetadata: {name: x\n")
    return it.volume(class_name="x")


async def unreadable_target(it: Rig, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """The target cannot be inspected."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "x")

    monkeypatch.setattr(walk, "descend", refuse)
    return it.volume()


async def symlink(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """The target is a symlink."""
    volume = it.volume()
    volume.target.parent.mkdir(parents=True)
    volume.target.symlink_to("/nowhere")
    return volume


async def foreign_mount(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """Another file system is mounted at the target."""
    volume = it.volume()
    volume.target.mkdir(parents=True)
    bind(it.secrets_dir, volume.target)
    return volume


async def full_volume(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """The reply does not fit."""
    it.provider.put("password", "x" * 100_000)
    return it.volume()


async def unwritable_status(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """The pod status cannot be written after the commit."""
    (it.manifests / "podstatuses").write_text("")
    return it.volume()


async def locked_target(it: Rig, _: pytest.MonkeyPatch) -> Volume:
    """Another publish holds the lock for longer than the caller waits."""
    it.write_class(**spec(stubDelay="6s"))
    first = asyncio.create_task(it.volume().publish())
    await it.provider.wait_for_calls(1)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    return it.volume()


@pytest.mark.parametrize(
    ("prepare", "code", "provider", "error_type"),
    [
        (unknown_class, "NOT_FOUND", "", "SecretProviderClassNotFound"),
        (malformed_class, "FAILED_PRECONDITION", "", "SecretProviderClassNotFound"),
        (unreadable_target, "ABORTED", "", "FailedToEnsureMountPoint"),
        (symlink, "INVALID_ARGUMENT", "", "FailedToEnsureMountPoint"),
        (foreign_mount, "ABORTED", "stub", "FailedToMount"),
        (full_volume, "RESOURCE_EXHAUSTED", "stub", "FileWriteError"),
        (unwritable_status, "UNAVAILABLE", "stub", ""),
        (locked_target, "ABORTED", "", ""),
    ],
)
def test_errors_of_other_steps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Rig, pytest.MonkeyPatch], Any],
    code: str,
    provider: str,
    error_type: str,
) -> None:
    """A failure in each of the other steps has its status code and its error type."""

    async def run() -> None:
        async with rig(tmp_path, tmpfs_size=65536) as it:
            with monkeypatch.context() as patch:
                volume = await prepare(it, patch)
                found, text = await volume.failure(timeout=3.0)
            assert found.name == code, text
            assert counted(it) == {(provider, error_type): 1}

    asyncio.run(run())


def test_error_type_survives_the_change_of_code(tmp_path: Path) -> None:
    """A final failure is answered as ABORTED, because a provider's own files stay mounted: it keeps its error type."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            volume.target.parent.mkdir(parents=True)
            operations.prepare(str(volume.target), None, False, {})
            (volume.target / "own").write_text("written by the provider")
            it.write_class(**spec(stubError="NOT_FOUND"))
            code, _ = await volume.failure()
            assert code.name == "ABORTED"
            assert counted(it) == {("stub", "GRPCProviderError"): 1}

    asyncio.run(run())


def test_invalid_request(tmp_path: Path) -> None:
    """An invalid request is counted without a provider."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            request = it.volume().request()
            request.ClearField("volume_id")
            with pytest.raises(grpc.aio.AioRpcError):
                await it.node.NodePublishVolume(request)
            assert counted(it) == {("", "FailedToMount"): 1}

    asyncio.run(run())


def test_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is counted under the error type of the step in which it occurs."""

    async def bug(*_: object, **__: object) -> None:
        raise KeyError("private detail")

    async def run() -> None:
        async with rig(tmp_path) as it:
            monkeypatch.setattr(it.driver.providers, "mount", bug)
            await it.volume().failure()
            monkeypatch.setattr(it.driver.backend.cluster, "get_class", bug)
            await it.volume("pod-2").failure()
            assert counted(it) == {("stub", "GRPCProviderError"): 1, ("", "SecretProviderClassNotFound"): 1}

    asyncio.run(run())
