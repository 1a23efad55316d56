"""The story: a pod's secret from the store to the pod, rotated, through a driver's death, to the end. Each step is
checked."""

import asyncio
import os
import signal
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp
import psutil
import yaml

from demo import stage
from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.pods import Pod
from runtime.flags import Duration

DRIVER = "secrets-store.csi.k8s.io"
ROLES = ("driver", "registrar", "probe")
INTERVAL = 1.0
JITTER = 0.1
STEP_SECONDS = 15.0

CLASS = {
    "apiVersion": "secrets-store.csi.x-k8s.io/v1",
    "kind": "SecretProviderClass",
    "metadata": {"name": "app", "namespace": "demo"},
    "spec": {
        "provider": "stub",
        "parameters": {
            "objects": yaml.safe_dump(
                [
                    {"objectName": "db-password", "filePermission": "0400"},
                    {"objectName": "api/key"},
                    {"objectName": "tls.crt", "generate": "certificate"},
                    {"objectName": "tls.key", "generate": "certificate", "filePermission": "0400"},
                ]
            )
        },
    },
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "app-1", "namespace": "demo", "uid": "5a0c2a3e-0000-4000-8000-000000000001"},
    "spec": {
        "serviceAccountName": "app",
        "volumes": [
            {
                "name": "secrets",
                "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": "app"}},
            }
        ],
    },
}


T = TypeVar("T")


class StepFailed(Exception):
    """A step's check did not hold; the sentence says which."""


@dataclass
class Story:
    """What the steps share."""

    directory: Path
    port: int = field(default_factory=stage.free_port)
    started: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        """One line with the time since the beginning."""
        print(f"{time.monotonic() - self.started:6.2f} s  {text}", flush=True)

    def show(self, text: str) -> None:
        """Something to look at, indented."""
        for line in text.splitlines():
            print(f"            {line}", flush=True)

    @property
    def secret(self) -> Path:
        """The secret in the store."""
        return self.directory / "store" / "db-password"

    def set_up(self) -> None:
        """The directories of a node, a store with two secrets, one class."""
        for name in (
            "kubelet/pods",
            "kubelet/plugins_registry",
            "csi",
            "providers",
            "store/api",
            "manifests",
            "status",
        ):
            (self.directory / name).mkdir(parents=True)
        self.secret.write_text("correct horse")
        (self.directory / "store" / "api" / "key").write_text("k-1")
        (self.directory / "manifests" / "app.yaml").write_text(yaml.safe_dump(CLASS))

    def supervised(self) -> list[str]:
        """The container's command line."""
        here = self.directory
        return [
            "container.start",
            f"--endpoint=unix://{here}/csi/csi.sock",
            "--nodeid=demo-node",
            f"--manifests={here}/manifests",
            f"--provider-volume={here}/providers",
            "--additional-provider-volume-paths=",
            f"--kubelet-pods-dir={here}/kubelet/pods",
            "--metrics-addr=",
            "--enable-secret-rotation",
            f"--rotation-poll-interval={INTERVAL:g}s",
            f"--status-directory={here}/status",
            f"--kubelet-registration-path={here}/csi/csi.sock",
            f"--plugin-registration-path={here}/kubelet/plugins_registry",
            f"--probe-http-endpoint=127.0.0.1:{self.port}",
        ]

    async def healthz(self) -> tuple[int, str]:
        """The probe's answer; 0 while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/healthz") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError as error:
            return 0, str(error)


async def play(story: Story) -> None:
    """All steps, in order. Raises StepFailed, or TimeoutError for a step that takes too long."""
    story.set_up()
    here = story.directory
    async with AsyncExitStack() as stack:
        provider = [
            "provider_stub.main",
            f"--endpoint=unix://{here}/providers/stub.sock",
            f"--secrets-dir={here}/store",
        ]
        await stack.enter_async_context(stage.running(here / "provider.log", provider))
        kubelet = await stack.enter_async_context(
            KubeletStub(KubeletConfig(root=f"{here}/kubelet", republish_interval=Duration(0), node_name="demo-node"))
        )
        supervisor = await stack.enter_async_context(stage.running(here / "driver.log", story.supervised()))
        await registered(story, kubelet, supervisor)
        pod = await mounted(story, kubelet)
        try:
            await healthy(story)
            await rotated(story, kubelet, pod)
            await killed_and_healed(story, kubelet, pod, supervisor)
        finally:
            await kubelet.delete_pod(pod)
        check_gone(story)
    ended(story)


async def registered(story: Story, kubelet: KubeletStub, supervisor: psutil.Process) -> None:
    """Step 1."""
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_registered(DRIVER)
    await until(lambda: set(roles(supervisor)) == set(ROLES), "three processes under supervisord")
    story.tell(f"registered: kubelet knows {DRIVER}")
    story.show("\n".join(f"{name:<12} pid {pid}" for name, pid in roles(supervisor).items()))


async def mounted(story: Story, kubelet: KubeletStub) -> Pod:
    """Step 2."""
    pod = await kubelet.add_pod(POD)
    async with asyncio.timeout(STEP_SECONDS):
        await kubelet.wait_mounted(pod)
    target = kubelet.target(pod)
    check((target / "db-password").read_text() == "correct horse", "the file must hold the secret")
    check(mount_line(target).startswith("tmpfs"), "the volume must be a tmpfs")
    story.tell(f"mounted: the volume of pod {pod.key}")
    story.show(listing(target))
    story.show(mount_line(target))
    story.show(f"db-password: {(target / 'db-password').read_text()}")
    return pod


async def healthy(story: Story) -> None:
    """Step 3."""
    await until_async(lambda: is_healthy(story), "healthz to answer ok")
    story.tell("healthy: /healthz answers 200 ok")


async def rotated(story: Story, kubelet: KubeletStub, pod: Pod) -> None:
    """Step 4: one republish, once the volume is due."""
    target = kubelet.target(pod)
    story.secret.write_text("battery staple")
    due = os.stat(target / "..data").st_mtime + INTERVAL * (1 + JITTER)
    await asyncio.sleep(max(0.0, due - time.time()))
    check((target / "db-password").read_text() == "correct horse", "nothing may change before a republish")
    check(not await kubelet.republish(pod), "the republish must succeed")
    check((target / "db-password").read_text() == "battery staple", "one republish must bring the new secret")
    story.tell("rotated: the store has a new secret, and so has the pod, by one republish")
    story.show(f"db-password: {(target / 'db-password').read_text()}")


async def killed_and_healed(story: Story, kubelet: KubeletStub, pod: Pod, supervisor: psutil.Process) -> None:
    """Step 5."""
    target = kubelet.target(pod)
    before = (os.readlink(target / "..data"), os.stat(target).st_dev)
    victim = roles(supervisor)["driver"]
    os.kill(victim, signal.SIGKILL)
    check((target / "db-password").read_text() == "battery staple", "the volume must outlive the driver")
    await until(lambda: roles(supervisor).get("driver", victim) != victim, "a new driver")
    story.tell(f"killed: driver {victim} with SIGKILL; the volume stays readable")
    await until_async(lambda: is_healthy(story), "healthz to answer ok again")
    check(not await kubelet.republish(pod), "the new driver must take the republish")
    check((os.readlink(target / "..data"), os.stat(target).st_dev) == before, "the volume must not have changed")
    story.tell("healed: a new driver answers, the volume is the same mount with the same content")


def roles(supervisor: psutil.Process) -> dict[str, int]:
    """Name and pid of each process under supervisord; one that ends while it is looked at is none."""
    found = {}
    for process in supervisor.children():
        with suppress(psutil.NoSuchProcess):
            found[process.name()] = process.pid
    return found


def check_gone(story: Story) -> None:
    """Step 6."""
    left = [line for line in mount_table() if str(story.directory / "kubelet") in line]
    check(not left, f"still mounted: {left}")
    check(not list((story.directory / "kubelet" / "pods").glob("*/volumes/*/*")), "the pod's volumes must be gone")
    story.tell("deleted: the pod is gone and nothing is left mounted")


def ended(story: Story) -> None:
    """Step 7."""
    left = [
        path.name
        for name in ("kubelet/plugins_registry", "csi", "providers")
        for path in (story.directory / name).iterdir()
    ]
    check(not left, f"sockets are left: {left}")
    story.tell("stopped: all processes ended in order, and their sockets are gone")


def listing(target: Path) -> str:
    """Every file below the target with mode and size."""
    lines = [f"{stat_mode(target)}  {target.name}/"]
    for path in sorted(target.rglob("*")):
        if not path.is_dir() or path.is_symlink():
            shown = path.relative_to(target)
            lines.append(f"{stat_mode(path)}  {shown}" + (f" -> {os.readlink(path)}" if path.is_symlink() else ""))
    return "\n".join(lines)


def stat_mode(path: Path) -> str:
    """As ls writes it."""
    return stat.filemode(path.lstat().st_mode)


def mount_table() -> list[str]:
    """The mounts that this process sees."""
    return Path("/proc/self/mounts").read_text().splitlines()


def mount_line(target: Path) -> str:
    """The target's line; empty if there is none."""
    return next((line for line in mount_table() if line.split(" ")[1] == str(target)), "")


async def is_healthy(story: Story) -> bool:
    """Whether healthz answers 200 ok."""
    return await story.healthz() == (200, "ok")


def check(condition: object, sentence: str) -> None:
    """The step holds, or the demo ends."""
    if not condition:
        raise StepFailed(sentence)


async def until(condition: Callable[[], T], what: str) -> T:
    """Wait for a condition of the processes beside us, which nothing announces."""
    end = time.monotonic() + STEP_SECONDS
    while not (found := condition()):
        check(time.monotonic() < end, f"waited {STEP_SECONDS:g} s for {what}")
        await asyncio.sleep(0.02)
    return found


async def until_async(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """The same for a question over HTTP."""
    end = time.monotonic() + STEP_SECONDS
    while not await condition():
        check(time.monotonic() < end, f"waited {STEP_SECONDS:g} s for {what}")
        await asyncio.sleep(0.02)
