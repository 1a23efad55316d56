"""Every method of every gRPC service: requests filled in at random and damaged on the wire."""

import asyncio
import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.descriptor import MethodDescriptor

from driver.volume.walk import is_target_path
from kubelet_stub.dialing import dial
from protos import csi_pb2, pluginregistration_pb2, provider_pb2
from registrar.service import RegistrationService
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from tests.fuzz.effort import scaled, source, tally
from tests.fuzz.messages import Values, is_message, wire
from tests.support.mounts import mount_points
from tests.support.rig import Rig, rig

Code = grpc.StatusCode
COUNT = 80
# What the documentation of each contract, or the driver's own, names. INTERNAL is for what is not a message at all.
NODE_CODES = {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ABORTED,
              Code.UNIMPLEMENTED, Code.UNKNOWN, Code.RESOURCE_EXHAUSTED}  # fmt: skip  # UNKNOWN: a provider's own error
SERVICES: dict[str, tuple[Any, set[Code]]] = {
    "csi.v1.Identity": (csi_pb2, {Code.OK}),
    "csi.v1.Controller": (csi_pb2, {Code.OK, Code.UNIMPLEMENTED}),
    "csi.v1.Node": (csi_pb2, NODE_CODES),
    "pluginregistration.Registration": (pluginregistration_pb2, {Code.OK}),
    "v1alpha1.CSIDriverProvider": (
        provider_pb2,
        {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED},
    ),
}
# A process that has answered so many more requests has not more of these; MiB of memory leave room for its caches.
GROWTH_DESCRIPTORS, GROWTH_TASKS, GROWTH_MIB = 4, 4, 40


def methods(service: str) -> list[MethodDescriptor]:
    """The methods of a service."""
    module = SERVICES[service][0]
    return list(module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods)


def values_of(it: Rig) -> Values:
    """What makes some of the requests go a long way."""
    target = str(it.pods_dir / "uid/volumes/kubernetes.io~csi/secrets/mount")
    others = [
        str(it.pods_dir / "other/volumes/kubernetes.io~csi/v/mount"),
        str(it.directory),
        f"{target}/..",
        "/",
        target,
    ]
    prefix = "csi.storage.k8s.io/"
    context = {
        "secretProviderClass": "app",
        f"{prefix}pod.name": "p",
        f"{prefix}pod.namespace": "default",
        f"{prefix}pod.uid": "uid",
    }
    return {
        "volume_id": ["csi-1"],
        "target_path": [target, target, *others],
        "volume_path": [target, *others],
        "readonly": [True, True, False],
        "volume_context": [context, context, {**context, "secretProviderClass": "missing"}, {}],
        "volume_mount_group": ["", "1234", "x", "-1", "4294967295"],
        "secrets": [{}, {"token": "canary"}],
        "attributes": [
            '{"secretProviderClass":"app","objects":"- objectName: password"}',
            "{}",
            "null",
            "[",
            '{"a":5}',
        ],
        "permission": ["420", "0", "-1", "x", "null", '"420"', "1e3"],
        "current_object_version": [],
    }


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, data: bytes) -> Code:
    """One call with these bytes; its code."""
    send: Any = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
    try:
        await send(data, timeout=30)
    except grpc.aio.AioRpcError as error:
        assert len(error.details() or "") < 4096 and "Traceback" not in (error.details() or "")
        return Code(error.code())
    return Code.OK


async def fuzz(
    service: str, channel: grpc.aio.Channel, values: Values, numbers: random.Random, codes: Collection[Code]
) -> Counter[Code]:
    """Call each method of a service again and again; the codes of those that were messages."""
    outcomes: Counter[Code] = Counter()
    for method in methods(service):
        for _ in range(scaled(COUNT, 10_000)):
            data = wire(numbers, method.input_type, values)
            if method.name == "NodePublishVolume":
                _make_parent(data)
            code = await call(channel, method, data)
            tally(f"requests of {service}")
            if is_message(data, method.input_type):
                assert code in codes, (method.name, code, data[:500].hex())
                outcomes[code] += 1
            else:
                assert code is Code.INTERNAL, (method.name, code, data[:500].hex())
    return outcomes


def _make_parent(data: bytes) -> None:
    """As kubelet does."""
    try:
        path = csi_pb2.NodePublishVolumeRequest.FromString(data).target_path
    except Exception:
        return
    if path.startswith("/tmp/") and is_target_path(path) and "\0" not in path and len(path) < 200:
        os.makedirs(os.path.dirname(path), exist_ok=True)


def resources() -> tuple[int, int, float]:
    """Descriptors, tasks, and MiB of memory of this process."""
    gc.collect()
    memory = psutil.Process().memory_full_info().uss / 2**20
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), memory


async def without_growth(work: Callable[[], Awaitable[Any]]) -> Any:
    """Do the work twice; the second time leaves nothing behind."""
    result = await work()
    before = resources()
    await work()
    descriptors, tasks, memory = (after - then for after, then in zip(resources(), before, strict=True))
    assert descriptors <= GROWTH_DESCRIPTORS and tasks <= GROWTH_TASKS and memory <= GROWTH_MIB
    return result


@pytest.mark.parametrize("service", ["csi.v1.Identity", "csi.v1.Controller", "csi.v1.Node"])
def test_the_driver(tmp_path: Path, service: str) -> None:
    """Requests of any content to each method of the driver → a code of the documentation, INTERNAL only for bytes that
    are no message; the driver goes on, nothing of it grows, and no volume is left after its target was unpublished."""
    numbers = source(service)

    async def run() -> None:
        async with (
            rig(tmp_path, kubelet_pods_dir=str(tmp_path / "pods")) as it,
            dial(f"{tmp_path}/csi.sock") as channel,
        ):
            values = values_of(it)
            outcomes = await without_growth(lambda: fuzz(service, channel, values, numbers, SERVICES[service][1]))
            assert outcomes[Code.OK] or service == "csi.v1.Controller"
            if service == "csi.v1.Node":
                assert len(outcomes) > 3, outcomes
            assert (await it.identity.Probe(csi_pb2.ProbeRequest())).ready.value
            for path in mount_points(it.pods_dir):
                request = csi_pb2.NodeUnpublishVolumeRequest(volume_id="v", target_path=path)
                await it.node.NodeUnpublishVolume(request)
            assert mount_points(it.directory) == [] and len(it.driver.volumes) == 0

    asyncio.run(run())


def test_the_registration(tmp_path: Path) -> None:
    """The same for kubelet's registration."""
    service, numbers = "pluginregistration.Registration", source("registration")
    results = list[tuple[bool, str]]()

    async def run() -> None:
        made = RegistrationService("driver", "/csi.sock", lambda *result: results.append(result))
        socket = tmp_path / "reg.sock"
        async with (
            rpc.serve(UnixEndpoint(str(socket)), made.register),
            dial(str(socket)) as channel,
        ):
            await without_growth(lambda: fuzz(service, channel, {}, numbers, SERVICES[service][1]))
            assert results

    asyncio.run(run())


def test_the_provider_kit(tmp_path: Path) -> None:
    """The same for a provider that is built on the kit."""
    service, numbers = "v1alpha1.CSIDriverProvider", source("provider")

    async def run() -> None:
        async with rig(tmp_path) as it, dial(str(it.providers_dir / "stub.sock")) as channel:
            values = {**values_of(it), "secrets": ["null", "{}", '{"a":"b"}', "[", "5"]}
            outcomes = await without_growth(lambda: fuzz(service, channel, values, numbers, SERVICES[service][1]))
            assert outcomes[Code.OK]

    asyncio.run(run())
