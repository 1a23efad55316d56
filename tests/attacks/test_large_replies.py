"""A provider's reply makes the driver write, or remove, as much as it can. It costs its own pod only."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from driver import limits
from protos import provider_pb2
from tests.attacks.hostile_provider import Reply, hostile_provider, reply_with
from tests.support.rig import Rig, Volume, rig

# The gRPC code and a part of the sentence for each reply that is too large.
REFUSED = {
    "deep": (grpc.StatusCode.UNKNOWN, "32 components"),
    "directories": (grpc.StatusCode.UNKNOWN, "more than 4096 files and directories"),
    "files": (grpc.StatusCode.UNKNOWN, "more than 4096 files and directories"),
    "versions": (grpc.StatusCode.UNKNOWN, "versions of 300000 objects"),
    "one-version-more": (grpc.StatusCode.UNKNOWN, "versions of 4097 objects; at most 4096"),
    "one-path-more": (grpc.StatusCode.UNKNOWN, "more than 4096 files and directories"),
    "both": (grpc.StatusCode.UNKNOWN, "also a directory of the same payload"),
    "same-version": (grpc.StatusCode.UNKNOWN, "versions of 300000 objects"),
    "long-id": (grpc.StatusCode.UNKNOWN, "the id of object 'iii"),
    "long-version": (grpc.StatusCode.UNKNOWN, "the version of object 'a' has 5000 bytes"),
    "long-in-all": (grpc.StatusCode.UNKNOWN, "bytes in all; at most 524288"),
    "empty-files": (grpc.StatusCode.UNKNOWN, "more than 4096 files and directories"),
    "one-directory": (grpc.StatusCode.UNKNOWN, "more than 4096 files and directories"),
}


Build = Callable[[], provider_pb2.MountResponse]


def _names(count: int) -> list[str]:
    return [f"{number:06}" for number in range(count)]


def _empty(count: int, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{name}": b"" for name in _names(count)}


_VERSION = provider_pb2.ObjectVersion(id="a", version="1")
LARGEST = limits.MAX_VOLUME_ENTRIES
REPLIES: dict[str, Build] = {
    "deep": lambda: reply_with({f"{name}/" + "a/" * 98 + "x": b"" for name in _names(4000)}),
    "directories": lambda: reply_with({f"{name}/" + "a/" * 30 + "x": b"" for name in _names(4000)}),
    "full-depth": lambda: reply_with({f"{name}/" + "a/" * 30 + "x": b"" for name in _names(LARGEST // 32)}),
    "one-path-more": lambda: reply_with({f"{name}/" + "a/" * 30 + "x": b"" for name in _names(LARGEST // 32 + 1)}),
    "both": lambda: reply_with({"a/" * 31 + "x": b"", "a/" * 30 + "a": b""}),
    "same-version": lambda: provider_pb2.MountResponse(object_version=[_VERSION] * 300_000),
    "longest-path": lambda: reply_with({"/".join(["n" * 255] * 16): b"x"}),
    "largest-file": lambda: reply_with({"f": b"x" * (4 * 1024 * 1024 - 1000)}),
    "files": lambda: reply_with(_empty(LARGEST + 1)),
    "empty-files": lambda: reply_with(_empty(300_000)),
    "one-directory": lambda: reply_with(_empty(LARGEST, "d/")),
    "versions": lambda: reply_with({}, dict.fromkeys(_names(300_000), "1")),
    "one-version-more": lambda: reply_with({"f": b""}, dict.fromkeys(_names(LARGEST + 1), "1")),
    "long-id": lambda: reply_with({"f": b""}, {"i" * 5000: "1"}),
    "long-version": lambda: reply_with({"f": b""}, {"a": "v" * 5000}),
    "long-in-all": lambda: reply_with({"f": b""}, dict.fromkeys(_names(200), "v" * 4000)),
    "largest": lambda: reply_with(_empty(LARGEST)),
}


def _always(message: provider_pb2.MountResponse) -> Reply:
    return lambda _: message


def _replies(*names: str) -> dict[str, Reply]:
    return {name: _always(REPLIES[name]()) for name in names}


def _write_classes(it: Rig, names: list[str]) -> None:
    for name in names:
        it.write_class(name, provider="hostile", parameters={"reply": name})


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    """The reply is larger or deeper than a volume may be → the pod's author reads the limit; nothing stays mounted."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            _write_classes(it, [name])
            with hostile_provider(it.providers_dir, _replies(name)):
                volume = it.volume("attacker", class_name=name)
                code, sentence = await volume.failure()
                assert (code, REFUSED[name][1] in sentence) == (REFUSED[name][0], True), sentence
                assert not volume.mounted

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["full-depth", "longest-path", "largest-file"])
def test_accepted(tmp_path: Path, name: str) -> None:
    """The reply is as large, deep or long as it may be → published and unpublished."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            _write_classes(it, [name])
            with hostile_provider(it.providers_dir, _replies(name)):
                volume = it.volume("largest", class_name=name)
                await volume.publish()
                await volume.unpublish()
                assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(scenario())


def test_the_largest_volume_is_written_changed_and_removed(tmp_path: Path) -> None:
    """A reply of exactly as many files as allowed → published, and a refresh that replaces all of them fits too."""

    async def scenario() -> None:
        replies = _replies("largest")
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=0.001) as it:
            _write_classes(it, ["largest"])
            with hostile_provider(it.providers_dir, replies):
                volume = it.volume("large", class_name="largest")
                await volume.publish()
                assert len(os.listdir(volume.target)) > limits.MAX_VOLUME_ENTRIES
                other = _empty(LARGEST, "x")
                replies["largest"] = _always(reply_with(other, {"a": "2"}))
                await volume.publish()
                assert it.metric("rotation_reconcile_total", provider="hostile", rotated="true") == 1
                assert volume.read("x000000") == b""
                await volume.unpublish()
                assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(scenario())


def test_inodes_are_bounded(tmp_path: Path) -> None:
    """A provider that writes into the volume itself creates files for ever → the tmpfs has no more inodes."""

    async def scenario() -> None:
        async with rig(tmp_path, max_volume_entries=100) as it:
            volume = it.volume()
            await volume.publish()
            with pytest.raises(OSError, match="No space left"):
                for number in range(1000):
                    (volume.target / f"flood-{number}").touch()

    asyncio.run(scenario())


def test_others_do_not_wait(tmp_path: Path) -> None:
    """Eight large volumes are published and unpublished at once → publish and unpublish of a small one take about as
    long as before."""

    async def scenario() -> None:

        async def median_of(prefix: str, busy: "asyncio.Future[list[None]] | None") -> float:
            took: list[float] = []
            while len(took) < 9 or (busy is not None and not busy.done()):
                small = it.volume(f"{prefix}-{len(took)}")
                started = time.monotonic()
                await small.publish()
                await small.unpublish()
                took.append(time.monotonic() - started)
            print(f"{prefix}: {len(took)} volumes, the slowest took {max(took) * 1000:.0f} ms")
            return sorted(took)[len(took) // 2]

        async def attack(volume: Volume) -> None:
            await volume.publish(60)
            await volume.unpublish(60)

        async with rig(tmp_path) as it:
            _write_classes(it, ["largest"])
            with hostile_provider(it.providers_dir, _replies("largest")):
                quiet = await median_of("quiet", None)
                large = [it.volume(f"large-{number}", class_name="largest") for number in range(8)]
                attacks = asyncio.gather(*(attack(volume) for volume in large))
                busy = await median_of("busy", attacks)
                await attacks
                quiet = max(quiet, await median_of("after", None))  # the machine may have got more to do meanwhile
        print(f"median of publish and unpublish: {quiet * 1000:.1f} ms in quiet, {busy * 1000:.1f} ms under attack")
        assert busy < 5 * quiet + 0.2

    asyncio.run(scenario())
