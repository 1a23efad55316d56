"""The story: a secret travels from the store to a pod, is rotated, survives the death of the driver, and is removed.
Every step is checked.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack

import psutil

from demo import sandbox
from demo.checks import STEP_SECONDS, check, wait_until
from demo.node import ROTATION_INTERVAL, SOCKET_DIRECTORIES, Node, role_pids
from demo.objects import DRIVER, POD
from demo.output import list_files, mount_of, mounts, print_details, print_step
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.pods import Pod

ROLES = {"driver", "registrar", "probe"}
# The driver spreads refreshes: a volume is due at most this fraction of the interval late.
JITTER = 0.1


async def play(node: Node) -> None:
    """All steps in order. Raises StepFailed, or TimeoutError if a step takes too long."""
    node.set_up()
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
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_registered(DRIVER)
    await wait_until(lambda: set(role_pids(supervisor)) == ROLES, "three processes under supervisord")
    print_step(node.started, f"registered: kubelet has registered the driver {DRIVER}")
    print_details("\n".join(f"{name:<12} pid {pid}" for name, pid in role_pids(supervisor).items()))


async def mount(node: Node, kubelet: KubeletStub) -> Pod:
    """Step 2: a pod starts, and the driver publishes its volume."""
    pod = await kubelet.add_pod(POD)
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_mounted(pod)
    target = kubelet.target(pod)
    password = (target / "db-password").read_text()
    check(password == "correct horse", "the file must hold the secret of the store")
    check(mount_of(target).startswith("tmpfs"), "the volume must be a tmpfs")
    print_step(node.started, f"mounted: pod {pod.key} has its volume")
    print_details(list_files(target))
    print_details(mount_of(target))
    print_details(f"db-password: {password}")
    return pod


async def check_health(node: Node) -> None:
    """Step 3: the probe asks the driver."""
    await wait_until(node.is_healthy, "/healthz to return 200 ok")
    print_step(node.started, "healthy: /healthz returns 200 ok")


async def rotate(node: Node, kubelet: KubeletStub, pod: Pod) -> None:
    """Step 4: the secret changes in the store; the first republish after the rotation interval brings it."""
    target = kubelet.target(pod)
    await node.set_password("battery staple")
    due = os.stat(target / "..data").st_mtime + ROTATION_INTERVAL * (1 + JITTER)
    await asyncio.sleep(max(0.0, due - time.time()))
    check((target / "db-password").read_text() == "correct horse", "nothing may change before the republish")
    check(not await kubelet.republish(pod), "the republish must succeed")
    password = (target / "db-password").read_text()
    check(password == "battery staple", "the republish must bring the new secret")
    print_step(node.started, "rotated: the secret has changed in the store, and one republish later in the pod")
    print_details(f"db-password: {password}")


async def kill_and_heal(node: Node, kubelet: KubeletStub, pod: Pod, supervisor: psutil.Process) -> None:
    """Step 5: the driver is killed and restarted by the supervisor; the volume is not affected."""
    target = kubelet.target(pod)
    before = (os.readlink(target / "..data"), os.stat(target).st_dev)
    killed = role_pids(supervisor)["driver"]
    os.kill(killed, signal.SIGKILL)
    check((target / "db-password").read_text() == "battery staple", "the volume must survive the driver")
    await wait_until(lambda: role_pids(supervisor).get("driver", killed) != killed, "the restart of the driver")
    print_step(node.started, f"killed: SIGKILL to the driver, pid {killed}; the volume stays readable")
    await wait_until(node.is_healthy, "/healthz to return 200 ok again")
    check(not await kubelet.republish(pod), "the restarted driver must accept a republish")
    check((os.readlink(target / "..data"), os.stat(target).st_dev) == before, "the volume must not have changed")
    print_step(node.started, "healed: the driver was restarted; the volume has the same mount and the same content")


def check_deleted(node: Node) -> None:
    """Step 6: the pod was deleted, and its volume was unpublished."""
    left = [line for line in mounts() if str(node.directory / "kubelet") in line]
    check(not left, f"still mounted: {left}")
    volumes = list((node.directory / "kubelet" / "pods").glob("*/volumes/*/*"))
    check(not volumes, "the directories of the pod's volumes must be removed")
    print_step(node.started, "deleted: the pod is deleted, and nothing is left mounted")


def check_stopped(node: Node) -> None:
    """Step 7: all processes have exited and removed their sockets."""
    left = [path.name for name in SOCKET_DIRECTORIES for path in (node.directory / name).iterdir()]
    check(not left, f"sockets are left: {left}")
    print_step(node.started, "stopped: all processes have exited in order and removed their sockets")
