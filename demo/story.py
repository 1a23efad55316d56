"""The story: a secret travels from the store to a pod, is rotated, survives the death of the driver, and is removed.
Every step is checked.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from cli.dev.layout import ROTATION_INTERVAL
from demo import sandbox
from demo.checks import STEP_SECONDS, check, wait_until
from demo.node import SOCKET_DIRECTORIES, Node, role_pids
from demo.objects import DRIVER, POD, manifest
from demo.output import describe_mount, list_files, mount_of, mounts
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.pods import Pod

ROLES = {"driver", "registrar", "probe"}
# The driver spreads refreshes: a volume is due at most this fraction of the interval late.
JITTER = 0.1


async def play(node: Node) -> None:
    """All steps in order. Raises StepFailed, or TimeoutError if a step takes too long."""
    node.set_up()
    node.output.title(
        "How a secret gets into a pod: the Secrets Store CSI driver at work, without a cluster",
        f"The driver's container and the provider are the real ones. The store is {node.store_is}; a stub plays "
        "kubelet. All of it runs in a mount namespace of its own, and nothing stays behind.",
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(node.store())
        await stack.enter_async_context(sandbox.running(node.directory / "provider.log", node.provider_command()))
        kubelet = await stack.enter_async_context(KubeletStub(node.kubelet_config()))
        kubelet.add_secret(node.kubelet_secret())
        supervisor = await stack.enter_async_context(
            sandbox.running(node.directory / "driver.log", node.container_command())
        )
        await register(node, kubelet, supervisor)
        pod = await mount(node, kubelet)
        try:
            await check_health(node)
            await rotate(node, kubelet, pod)
            await kill_and_heal(node, kubelet, pod, supervisor)
        finally:
            await kubelet.delete_pod(pod)
        check_deleted(node)
    check_stopped(node)


async def register(node: Node, kubelet: KubeletStub, supervisor: psutil.Process) -> None:
    """Step 1: the registrar announces the driver to kubelet."""
    node.output.step("The driver starts, and kubelet gets to know it")
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_registered(DRIVER)
    await wait_until(lambda: set(role_pids(supervisor)) == ROLES, "three processes under supervisord")
    node.output.done(f"kubelet has registered the driver {DRIVER}")
    pids = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(role_pids(supervisor).items()))
    node.output.explain(f"One container, and in it three processes under supervisord: {pids}.")


async def mount(node: Node, kubelet: KubeletStub) -> Pod:
    """Step 2: a pod starts, and the driver publishes its volume."""
    output = node.output
    output.step("A pod starts, and finds its secrets as files")
    output.show(node.class_file.read_text(), "The class says what to fetch, and from where:")
    output.show(manifest(POD), "The pod has a volume of this class:")
    pod = await kubelet.add_pod(POD)
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_mounted(pod)
    target = kubelet.target(pod)
    check(password(target) == "correct horse", "the file must hold the secret of the store")
    check(mount_of(target).startswith("tmpfs"), "the volume must be a tmpfs")
    output.done(f"the volume of pod {pod.key} is mounted: {describe_mount(mount_of(target))}")
    output.show(list_files(target), "What the pod sees:")
    return pod


async def check_health(node: Node) -> None:
    """Step 3: the probe asks the driver."""
    node.output.step("The probe asks the driver whether it is healthy")
    await wait_until(node.is_healthy, "/healthz to return 200 ok")
    node.output.done("/healthz returns 200 ok: this is what kubelet's liveness probe sees")


async def rotate(node: Node, kubelet: KubeletStub, pod: Pod) -> None:
    """Step 4: the secret changes in the store; the first republish after the rotation interval brings it."""
    node.output.step("The password changes in the store, and then in the pod, which runs on")
    target = kubelet.target(pod)
    await node.set_password("battery staple")
    due = os.stat(target / "..data").st_mtime + ROTATION_INTERVAL * (1 + JITTER)
    await asyncio.sleep(max(0.0, due - time.time()))
    check(password(target) == "correct horse", "nothing may change before the republish")
    before = os.readlink(target / "..data")
    check(not await kubelet.republish(pod), "the republish must succeed")
    check(password(target) == "battery staple", "the republish must bring the new secret")
    node.output.done(f'db-password was "correct horse", and is "{password(target)}"')
    node.output.explain(
        f"The new files were written beside the old ones; then one link was replaced (..data: {before} → "
        f"{os.readlink(target / '..data')}). A reader sees all old files or all new ones, never a mixture."
    )


async def kill_and_heal(node: Node, kubelet: KubeletStub, pod: Pod, supervisor: psutil.Process) -> None:
    """Step 5: the driver is killed and restarted by the supervisor; the volume is not affected."""
    node.output.step("The driver is killed, and the pod does not notice")
    target = kubelet.target(pod)
    before = (os.readlink(target / "..data"), os.stat(target).st_dev)
    killed = role_pids(supervisor)["driver"]
    os.kill(killed, signal.SIGKILL)
    check(password(target) == "battery staple", "the volume must survive the driver")
    await wait_until(lambda: role_pids(supervisor).get("driver", killed) != killed, "the restart of the driver")
    node.output.done(f"kill -9 {killed}: the volume stays readable")
    await wait_until(node.is_healthy, "/healthz to return 200 ok again")
    check(not await kubelet.republish(pod), "the restarted driver must accept a republish")
    check((os.readlink(target / "..data"), os.stat(target).st_dev) == before, "the volume must not have changed")
    node.output.done("supervisord has started it again; the volume has the same mount and the same content")


def check_deleted(node: Node) -> None:
    """Step 6: the pod was deleted, and its volume was unpublished."""
    node.output.step("The pod is deleted, and its secrets are gone")
    left = [line for line in mounts() if str(node.directory / "kubelet") in line]
    check(not left, f"still mounted: {left}")
    volumes = list((node.directory / "kubelet" / "pods").glob("*/volumes/*/*"))
    check(not volumes, "the directories of the pod's volumes must be removed")
    node.output.done("nothing is left mounted, and the volume's directories are removed")


def check_stopped(node: Node) -> None:
    """Step 7: all processes have exited and removed their sockets."""
    node.output.step("Everything stops, in order")
    left = [path.name for name in SOCKET_DIRECTORIES for path in (node.directory / name).iterdir()]
    check(not left, f"sockets are left: {left}")
    node.output.done("all processes have exited and removed their sockets")


def password(target: Path) -> str:
    """What the pod reads."""
    return (target / "db-password").read_text()
