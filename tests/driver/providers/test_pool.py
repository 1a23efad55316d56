"""Providers that die, come back, move, and are slow meanwhile."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from driver import limits
from driver.providers.wire import mount_request
from provider_stub.running import running
from runtime import rpc
from tests.support.other_program import other_program
from tests.support.rig import Rig, rig
from tests.support.waiting import until

SLOW = {"objects": "- objectName: password", "stubDelay": "3s"}


def test_provider_that_restarts_or_moves(tmp_path: Path) -> None:
    """A provider that dies, and comes back at the same socket or at another one, is found without a restart of the
    driver."""

    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(other),)) as it:
            await it.volume("pod-1").publish()
            it.provider.crash()
            waiting = asyncio.create_task(it.volume("pod-2").publish())
            await until(lambda: is_publishing(it), "the publish to be under way")
            async with running(other / "stub.sock", it.secrets_dir) as moved:
                await waiting
                assert moved.calls == 1
            it.provider.path.unlink(missing_ok=True)
            async with running(it.providers_dir / "stub.sock", it.secrets_dir) as back:
                await it.volume("pod-3").publish()
                assert back.calls == 1

    def is_publishing(it: Rig) -> bool:
        return len(it.driver.volumes) == 1 and len(it.driver.node._running) == 1

    asyncio.run(run())


def test_connections_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More providers are called than connections are kept, one of them at the moment → the first one's connection is
    closed when its call has ended, and it is called again over a new one."""
    monkeypatch.setattr(limits, "MAX_PROVIDERS", 3)

    async def run() -> None:
        async with rig(tmp_path) as it, AsyncExitStack() as stack:
            for name in "abcd":
                await stack.enter_async_context(running(it.providers_dir / f"{name}.sock", it.secrets_dir))
                it.write_class(name, provider=name)
            it.write_class("slow", provider="a", parameters=SLOW)
            slow = asyncio.create_task(it.volume("slow", class_name="slow").publish())
            pool = it.driver.providers
            await until(lambda: "a" in pool._clients and pool._clients["a"]._calls, "the slow call")
            first = pool._clients["a"]
            for name in "bcd":
                await it.volume(name, class_name=name).publish()
            assert list(pool._clients) == ["b", "c", "d"]
            await slow
            assert first._retired
            await it.volume("again", class_name="a").publish()
            assert list(pool._clients) == ["c", "d", "a"]

    asyncio.run(run())


def test_dead_provider_is_awaited(tmp_path: Path) -> None:
    """A provider that was here and is gone is waited for until the deadline; the code is not final."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            await it.volume("pod-1").publish()
            it.provider.crash()
            started = time.monotonic()
            code, text = await it.volume("pod-2").failure(timeout=2.0)
            assert code == grpc.StatusCode.UNAVAILABLE
            assert f"nobody listens on {it.provider.path}; is its pod running?" in text
            assert time.monotonic() - started > 0.9

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["dead socket", "file", "dangling link", "directory", "link to a dead socket"])
def test_leftover_in_the_first_directory(tmp_path: Path, kind: str) -> None:
    """The directory that is searched first has the provider's name, but nobody listens there → the provider in the
    second one is called at once; the health check asks that one too."""

    async def run() -> None:
        first = tmp_path / "first"
        first.mkdir()
        leave(first / "stub.sock", kind)
        async with rig(tmp_path, additional_provider_volume_paths=(str(first),)) as it:
            await it.volume("pod-1").publish(timeout=10.0)
            await it.volume("pod-2").publish(timeout=10.0)
            assert it.provider.calls == 2
            await it.driver.providers.check_health()
            (provider,) = it.driver.providers.snapshot()
            assert provider["socket"] == str(it.provider.path) and provider["version"]

    asyncio.run(run())


def test_first_directory_comes_alive(tmp_path: Path) -> None:
    """The dead socket in the first directory is replaced by one that is served, also while a call waits for a
    connection → that one is called from then on; it dies → the second directory's again."""

    async def run() -> None:
        first = tmp_path / "first"
        first.mkdir()
        leave(first / "stub.sock", "dead socket")
        async with rig(tmp_path, additional_provider_volume_paths=(str(first),)) as it:
            await it.volume("pod-1").publish()
            async with running(first / "stub.sock", it.secrets_dir) as preferred:
                await it.volume("pod-2").publish()
                assert (it.provider.calls, preferred.calls) == (1, 1)
                preferred.crash()
                await it.volume("pod-3").publish(timeout=10.0)
                assert (it.provider.calls, preferred.calls) == (2, 1)
            it.provider.crash()
            waiting = asyncio.create_task(it.volume("pod-4").publish())
            await until(lambda: len(it.driver.node._running) == 1, "the publish to be under way")
            (first / "stub.sock").unlink(missing_ok=True)
            async with running(first / "stub.sock", it.secrets_dir) as back:
                await waiting
                assert back.calls == 1

    asyncio.run(run())


def test_two_providers_of_one_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another provider takes the name of one that is in use, by a socket in a directory that is searched earlier → it
    is called from then on, as with the Go driver, but the log says that there are two and which is not used, and the
    status too; a dead socket is no second provider, nor is one of another name."""

    def warnings() -> list[str]:
        found = [vars(record)["fields"] for record in caplog.records if "same name" in record.getMessage()]
        return [f"{fields['socket']} not {fields['unused']}" for fields in found]

    async def run() -> None:
        first, last = tmp_path / "first", tmp_path / "last"
        for directory in (first, last):
            directory.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(first), str(last))) as it:
            leave(last / "stub.sock", "dead socket")
            async with running(last / "another.sock", it.secrets_dir):
                await it.volume("pod-1").publish()
                assert warnings() == []
                assert [item["unused_sockets"] for item in it.driver.providers.snapshot()] == ["", ""]
                async with running(first / "stub.sock", it.secrets_dir) as intruder:
                    await it.volume("pod-2").publish()
                    assert intruder.calls == 1
                    assert warnings() == [f"{first / 'stub.sock'} not {it.provider.path}"]
                    (provider,) = (item for item in it.driver.providers.snapshot() if item["name"] == "stub")
                    assert provider["socket"] == str(intruder.path)
                    assert provider["unused_sockets"] == str(it.provider.path)
                    await it.volume("pod-3").publish()
                    assert len(warnings()) == 1

    asyncio.run(run())


def test_health_check_follows_a_provider_that_moved(tmp_path: Path) -> None:
    """A provider was called, died and serves in another directory → the health check asks it there, without a call in
    between."""

    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(other),)) as it:
            await it.volume("pod-1").publish()
            it.provider.crash()
            async with running(other / "stub.sock", it.secrets_dir) as moved:
                await it.driver.providers.check_health()
                (provider,) = it.driver.providers.snapshot()
                assert (provider["socket"], provider["last_error"]) == (str(moved.path), "")

    asyncio.run(run())


def test_nobody_listens_anywhere(tmp_path: Path) -> None:
    """Dead sockets in both directories → UNAVAILABLE at the deadline, with both paths; no socket at all, but other
    things → FAILED_PRECONDITION at once, with the reasons."""

    async def run() -> None:
        first = tmp_path / "first"
        first.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(first),)) as it:
            leave(first / "stub.sock", "dead socket")
            it.provider.crash()
            code, text = await it.volume("pod-1").failure(timeout=2.0)
            assert code == grpc.StatusCode.UNAVAILABLE
            assert f"nobody listens on {first}/stub.sock; nobody listens on {it.provider.path}; is its pod" in text
        (first / "stub.sock").unlink()
        leave(first / "stub.sock", "file")
        async with rig(tmp_path / "again", additional_provider_volume_paths=(str(first),)) as it:
            it.provider.path.unlink()
            leave(it.provider.path, "dangling link")
            code, text = await it.volume("pod-1").failure()
            assert code == grpc.StatusCode.FAILED_PRECONDITION and "provider not found" in text
            assert f"{first}/stub.sock is not a socket; {it.provider.path} is a symbolic link to nothing" in text
            it.provider.path.unlink()

    (tmp_path / "again").mkdir()
    asyncio.run(run())


def test_provider_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """A provider answers no call in time, again and again → the connection, on which such calls would pile up, is
    replaced; the provider gets well → it is called over the new one."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            await it.volume("pod-1").publish()
            pool, clients = it.driver.providers, set()
            slow = mount_request(json.dumps({**SLOW, "stubDelay": "20s"}), "{}", "/nowhere", "420")
            for _ in range(rpc.MAX_UNANSWERED + 1):
                deadline = asyncio.get_running_loop().time() + 0.3
                with pytest.raises(rpc.RemoteFailure) as raised:
                    async with AsyncExitStack() as held:
                        await pool.mount("stub", slow, deadline, readable_by_group=False, subject="a", held=held)
                assert raised.value.code == rpc.StatusCode.DEADLINE_EXCEEDED
                clients.add(pool._clients["stub"])
            assert len(clients) == 2
            await it.volume("pod-2").publish()
            assert pool._clients["stub"] in clients

    asyncio.run(run())


def leave(path: Path, kind: str) -> None:
    """Leave something at a path on which nobody listens."""
    if kind == "dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
    elif kind == "link to a dead socket":
        leave(path.with_name("target"), "dead socket")
        path.symlink_to("target")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("")


def test_many_await_a_provider_that_moves(tmp_path: Path) -> None:
    """Publishes that wait for a dead provider all succeed when it is back at another socket."""

    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(other),)) as it:
            await it.volume("pod-0").publish()
            it.provider.crash()
            waiting = [asyncio.create_task(it.volume(f"pod-{number}").publish()) for number in range(1, 21)]
            await until(lambda: len(it.driver.node._running) == len(waiting), "the publishes to be under way")
            async with running(other / "stub.sock", it.secrets_dir) as moved:
                await asyncio.gather(*waiting)
                assert moved.calls == len(waiting)

    asyncio.run(run())


def test_call_during_a_move(tmp_path: Path) -> None:
    """A provider is replaced by one at another socket during a call: the call is not cancelled, the next call does not
    wait for it, and the health check works."""

    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        async with rig(tmp_path, additional_provider_volume_paths=(str(other),)) as it:
            it.write_class("slow", parameters=SLOW)
            slow = asyncio.create_task(it.volume("pod-1", class_name="slow").publish())
            await it.provider.wait_for_calls(1)
            async with running(other / "stub.sock", it.secrets_dir) as moved:
                await it.volume("pod-2").publish()
                assert not slow.done() and moved.calls == 1
                await slow
                assert it.volume("pod-1").read() == b"s3cret"
                assert it.provider.calls == moved.calls == 1
                await it.driver.providers.check_health()
                assert [item["last_error"] for item in it.driver.providers.snapshot()] == [""]
                assert it.driver.providers.snapshot()[0]["socket"] == str(other / "stub.sock")

    asyncio.run(run())


def test_malformed_reply(tmp_path: Path) -> None:
    """A reply that is not a message of the contract: the error names the provider, nothing stays mounted, and the
    health check survives it."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.provider.crash()
            it.provider.path.unlink()
            async with other_program(it.provider.path):
                volume = it.volume()
                code, text = await volume.failure()
                assert code == grpc.StatusCode.INTERNAL
                assert 'provider "stub": its reply is not a message of the provider contract' in text
                assert not volume.mounted and volume.left_on_disk == []
                await it.driver.providers.check_health()
                assert "is not a message" in it.driver.providers.snapshot()[0]["last_error"]

    asyncio.run(run())
