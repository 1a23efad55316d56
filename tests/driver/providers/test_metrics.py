"""Calls to providers are measured, by gRPC code; a provider that is gone is known to be."""

import asyncio
import threading
from pathlib import Path

import grpc
import pytest

from driver.metrics import DriverMetrics
from protos import provider_pb2
from runtime import metrics
from tests.attacks.hostile_provider import Reply, hostile_provider, reply_with
from tests.support.rig import Rig, rig
from tests.support.waiting import run_async, until

CALLS, ERRORS = "secrets_store_provider_call_duration_seconds_count", "secrets_store_provider_call_errors_total"


def sample(it: Rig, name: str, **labels: str) -> float | None:
    return it.driver.metrics.registry.get_sample_value(name, labels)


def test_a_publish_is_one_call(tmp_path: Path) -> None:
    """A publish, a refresh and a health check → three calls by method, none of them an error; nothing is in flight when
    they have ended."""

    async def scenario() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=0.001) as it:
            await it.volume().publish()
            await it.volume().publish()
            await it.driver.providers.check_health()
            assert sample(it, CALLS, provider="stub", method="Mount") == 2
            assert sample(it, CALLS, provider="stub", method="Version") == 1
            assert ERRORS + "{" not in metrics.render(it.driver.metrics.registry).decode()
            assert sample(it, "secrets_store_publishes_in_flight") == 0

    run_async(scenario)


def refuse(code: grpc.StatusCode) -> Reply:
    """A provider that refuses with a gRPC code."""

    def reply(context: grpc.ServicerContext) -> provider_pb2.MountResponse:
        context.abort(code, "no")

    return reply


def refuse_in_reply(_: grpc.ServicerContext) -> provider_pb2.MountResponse:
    """A provider that refuses in its reply."""
    return provider_pb2.MountResponse(error=provider_pb2.Error(code="NoSuchSecret"))


@pytest.mark.parametrize(
    "reply, code",
    [
        (refuse(grpc.StatusCode.PERMISSION_DENIED), "PermissionDenied"),
        (refuse(grpc.StatusCode.DEADLINE_EXCEEDED), "DeadlineExceeded"),
        (refuse_in_reply, "ErrorInReply"),
    ],
)
def test_errors_by_code(tmp_path: Path, reply: Reply, code: str) -> None:
    """A provider that refuses → the call is counted by its code, in Go's spelling, or as an error in the reply."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            with hostile_provider(it.providers_dir, {"no": reply}):
                it.write_class(provider="hostile", parameters={"reply": "no"})
                await it.volume().failure()
            assert sample(it, ERRORS, provider="hostile", method="Mount", code=code) == 1
            assert sample(it, CALLS, provider="hostile", method="Mount") == 1

    run_async(scenario)


def test_a_large_reply_is_no_error(tmp_path: Path) -> None:
    """A reply that must be fetched twice because it is large → one call, and no error."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            it.provider.put("password", "x" * 600_000)
            await it.volume().publish()
            assert sample(it, CALLS, provider="stub", method="Mount") == 1
            assert ERRORS + "{" not in metrics.render(it.driver.metrics.registry).decode()

    run_async(scenario)


def test_a_provider_that_is_gone(tmp_path: Path) -> None:
    """The provider of a mounted volume ends → it is down, and up when it is back; one that no volume uses has no
    series, but counts as installed."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            with hostile_provider(it.providers_dir, {}):
                await it.driver.measure()
                assert sample(it, "secrets_store_provider_up", provider="stub") is None
                assert sample(it, "secrets_store_providers_installed") == 2
            await it.volume().publish()
            await it.driver.measure()
            assert sample(it, "secrets_store_provider_up", provider="stub") == 1
            socket = it.providers_dir / "stub.sock"
            socket.rename(it.providers_dir / "elsewhere")
            await it.restart()  # its connection would still lead to the socket that was moved
            await it.driver.measure()
            assert sample(it, "secrets_store_provider_up", provider="stub") == 0
            assert sample(it, "secrets_store_providers_installed") == 0
            (it.providers_dir / "elsewhere").rename(socket)
            await it.driver.measure()
            assert sample(it, "secrets_store_provider_up", provider="stub") == 1

    run_async(scenario)


def test_publishes_in_flight(tmp_path: Path) -> None:
    """Two publishes wait for a slow provider → two are in flight, and none when they have ended."""
    answering = threading.Event()

    def wait(_: grpc.ServicerContext) -> provider_pb2.MountResponse:
        assert answering.wait(20)
        return reply_with({"password": b"s3cret"})

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            with hostile_provider(it.providers_dir, {"late": wait}):
                it.write_class(provider="hostile", parameters={"reply": "late"})
                calls = [asyncio.create_task(it.volume(f"pod-{number}").publish()) for number in range(2)]
                await until(lambda: sample(it, "secrets_store_publishes_in_flight") == 2, "two publishes")
                answering.set()
                await asyncio.gather(*calls)
            assert sample(it, "secrets_store_publishes_in_flight") == 0

    run_async(scenario)


def test_the_worst_of_those_without_a_name() -> None:
    """More providers than labels → those beyond are one series, which is down if one of them is."""
    made = DriverMetrics([])
    made.providers.found(100, {f"p{number}": number != 99 for number in range(100)})
    assert made.registry.get_sample_value("secrets_store_provider_up", {"provider": "other"}) == 0
    assert made.registry.get_sample_value("secrets_store_provider_up", {"provider": "p0"}) == 1
