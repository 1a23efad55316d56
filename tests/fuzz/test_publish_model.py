"""A whole driver as a state machine, beside a plain model of which volumes there are and what is in them.

Publishes, republishes, unpublishes, restarts, several of them at once or given up by their caller; secrets, classes
and the provider change, fail and recover meanwhile; somebody unmounts a volume by hand. After each step: what OK was
answered for is there, completely; what an error was answered for keeps its content or leaves nothing.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driver.providers import pool
from driver.publish import schedule
from driver.volume import mounts, operations
from runtime.rpc import NON_FINAL_CODES
from tests.driver.volume.support import seen
from tests.fuzz.effort import fuzzed, tally
from tests.support.mounts import mount_points
from tests.support.rig import Rig, Volume, rig

NAMES = ("one", "two", "three")
PODS, CLASSES = ("pod-1", "pod-2", "pod-3"), ("app", "other")
Content = dict[str, bytes]
# How a class makes its provider fail, and the code of a first publish then; None: it does not.
FAILURES: dict[str, tuple[dict[str, str], grpc.StatusCode]] = {
    "": ({}, grpc.StatusCode.OK),
    "error": ({"stubError": "PERMISSION_DENIED"}, grpc.StatusCode.PERMISSION_DENIED),
    "away": ({"stubError": "UNAVAILABLE"}, grpc.StatusCode.UNAVAILABLE),
    "code": ({"stubErrorCode": "Forbidden"}, grpc.StatusCode.UNKNOWN),
    "outside": ({"stubReply": "dot-dot"}, grpc.StatusCode.UNKNOWN),
    "no versions": ({"stubReply": "no-versions"}, grpc.StatusCode.UNKNOWN),
}

# The kubelet stub's codes are grpc's own, which equal no others.
NON_FINAL_NAMES = {code.name for code in NON_FINAL_CODES}

pods = st.sampled_from(PODS)
classes = st.sampled_from(CLASSES)
objects = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
secrets = st.sampled_from([b"1", b"2", b"3", b"x" * 3000])


class DriverMachine(RuleBasedStateMachine):
    """``content`` is that of each volume that is there."""

    def __init__(self) -> None:
        super().__init__()
        tally("runs of the driver machine")
        self.patch = pytest.MonkeyPatch()
        for name in ("BACKOFF_FIRST", "BACKOFF_LAST"):
            self.patch.setattr(schedule, name, 0.0)
        self.patch.setattr(pool, "FIRST_RETRY_SECONDS", 0.001)
        self.directory = Path(tempfile.mkdtemp(prefix="t-"))
        self.runner, self.stack = asyncio.Runner(), AsyncExitStack()
        made = rig(self.directory, enable_secret_rotation=True, rotation_poll_interval=1e-9)
        self.it: Rig = self.run(self.stack.enter_async_context(made))
        self.volumes = {pod: self.it.volume(pod, class_name=CLASSES[pod == "pod-3"]) for pod in PODS}
        self.content: dict[str, Content] = {}
        self.store: Content = {}
        self.listed: dict[str, list[str]] = {}
        self.failure: dict[str, str] = {}
        for name in NAMES:
            self.put(name, b"0")
        for class_name in CLASSES:
            self.edit_class(class_name, ["one", "two"], "")

    def teardown(self) -> None:
        try:
            self.run(self.stack.aclose())
        finally:
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.directory)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run asyncio code; between the steps nothing runs."""
        return self.runner.run(work)

    # What the model says.

    def fetched(self, volume: Volume) -> Content | grpc.StatusCode:
        """What a publish gets for a volume now, or the code of its failure."""
        listed = self.listed.get(volume.class_name)
        if listed is None:
            return grpc.StatusCode.NOT_FOUND
        if failure := self.failure[volume.class_name]:
            return FAILURES[failure][1]
        if not self.store.keys() >= set(listed):
            return grpc.StatusCode.NOT_FOUND
        return {name: self.store[name] for name in listed}

    def published(self, pod: str, code: grpc.StatusCode) -> None:
        """After a publish: what it answered, and what is there."""
        fetched = self.fetched(self.volumes[pod])
        if isinstance(fetched, dict):
            assert code is grpc.StatusCode.OK, code
            self.content[pod] = fetched
        elif pod in self.content:
            assert code is grpc.StatusCode.OK, code  # a failed refresh keeps the content
        else:
            assert code is fetched, (code, fetched)

    async def code(self, call: Coroutine[Any, Any, None]) -> grpc.StatusCode:
        """The code of a call."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return grpc.StatusCode(error.code())
        return grpc.StatusCode.OK

    # What is done.

    @rule(pod=pods)
    def publish(self, pod: str) -> None:
        """A publish, the first one or another."""
        self.published(pod, self.run(self.code(self.volumes[pod].publish())))

    @rule(pod=pods)
    def unpublish(self, pod: str) -> None:
        """Also of what is not there."""
        assert self.run(self.code(self.volumes[pod].unpublish())) is grpc.StatusCode.OK
        self.content.pop(pod, None)

    @rule()
    def restart(self) -> None:
        """The driver knows nothing but what is on the node."""
        self.run(self.it.restart())

    @rule(pod=pods)
    def killed_before_the_commit(self, pod: str) -> None:
        """The driver was killed when the tmpfs was mounted and was still empty → no volume: the next publish fills it,
        or leaves nothing."""
        if pod in self.content:
            return
        volume = self.volumes[pod]
        self.run(self.it.stop())
        volume.target.parent.mkdir(parents=True, exist_ok=True)
        operations.prepare(str(volume.target), None, False, {})
        self.run(self.it.start())
        self.publish(pod)

    @rule(pod=pods, what=st.lists(st.booleans(), min_size=2, max_size=5))
    def at_once(self, pod: str, what: Sequence[bool]) -> None:
        """Publishes and unpublishes of one volume at once → in any order, each completely."""
        volume = self.volumes[pod]

        async def run() -> None:
            calls = [volume.publish() if publishes else volume.unpublish() for publishes in what]
            codes = await asyncio.gather(*map(self.code, calls))
            assert all(code is grpc.StatusCode.OK for code, publishes in zip(codes, what, strict=True) if not publishes)

        self.run(run())
        self.settle(pod)

    @rule(pod=pods, publishes=st.booleans(), seconds=st.sampled_from([0.0001, 0.002, 0.005, 0.02]))
    def given_up(self, pod: str, publishes: bool, seconds: float) -> None:
        """The caller does not wait → the driver ends what it has begun."""
        volume = self.volumes[pod]

        async def run() -> grpc.StatusCode:
            code = await self.code(volume.publish(seconds) if publishes else volume.unpublish(seconds))
            while self.it.driver.volumes._entries.get(str(volume.target), _IDLE).operations:
                await asyncio.sleep(0.001)
            return code

        code = self.run(run())
        if code is not grpc.StatusCode.OK and not publishes:
            assert code.name in NON_FINAL_NAMES
        self.settle(pod)

    @rule(pod=pods, name=st.sampled_from(NAMES), first=secrets, second=secrets)
    def rotated_meanwhile(self, pod: str, name: str, first: bytes, second: bytes) -> None:
        """A secret changes during a publish → its content is the old one or the new one."""
        self.put(name, first)

        async def run() -> grpc.StatusCode:
            task = asyncio.create_task(self.code(self.volumes[pod].publish()))
            await asyncio.sleep(0.002)
            self.it.provider.put(name, second)
            return await task

        code = self.run(run())
        self.published(pod, code)
        found = seen(self.volumes[pod].target) if pod in self.content else {}
        self.put(name, second)
        if found and found.get(name) == second and isinstance(self.fetched(self.volumes[pod]), dict):
            self.published(pod, code)

    @rule(name=st.sampled_from(NAMES), data=secrets)
    def put(self, name: str, data: bytes) -> None:
        """A secret changes in the store."""
        self.store[name] = data
        self.it.provider.put(name, data)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        """A secret is removed from the store."""
        if self.store.pop(name, None) is not None:
            self.it.provider.remove(name)

    @rule(class_name=classes, listed=objects, failure=st.sampled_from(list(FAILURES)))
    def edit_class(self, class_name: str, listed: list[str], failure: str) -> None:
        """The author of a class lists other objects, or makes its provider fail."""
        self.listed[class_name], self.failure[class_name] = listed, failure
        text = "\n".join(f"- objectName: {name}" for name in listed)
        self.it.write_class(class_name, parameters={"objects": text, **FAILURES[failure][0]})

    @rule(class_name=classes)
    def delete_class(self, class_name: str) -> None:
        """A class is deleted."""
        self.listed.pop(class_name, None)
        (self.it.manifests / f"default.{class_name}.yaml").unlink(missing_ok=True)

    @precondition(lambda self: self.content)
    @rule(data=st.data())
    def unmounted_by_hand(self, data: st.DataObject) -> None:
        """Somebody unmounts a volume → it is not there, whatever the driver remembers."""
        pod = data.draw(st.sampled_from(sorted(self.content)))
        mounts.unmount(str(self.volumes[pod].target))
        del self.content[pod]
        self.publish(pod)
        if pod not in self.content:  # nothing is left for kubelet, but it does not know
            self.unpublish(pod)

    # What must be true.

    def settle(self, pod: str) -> None:
        """After calls of which nobody knows the order: what is there is complete, and what kubelet does next is
        answered as if they had never been at once."""
        volume = self.volumes[pod]
        if volume.mounted:
            found = seen(volume.target)
            assert found in (self.fetched(volume), self.content.get(pod)), found
            self.content[pod] = found
        else:
            self.content.pop(pod, None)
        self.publish(pod)

    @invariant()
    def as_the_model_says(self) -> None:
        tally("steps of the driver machine")
        for pod, volume in self.volumes.items():
            if pod in self.content:
                assert seen(volume.target) == self.content[pod], pod
            else:
                assert not volume.mounted and volume.left_on_disk == []
        assert len(mount_points(self.it.pods_dir)) == len(self.content)
        assert {volume.pod.name for volume in self.it.driver.volumes} == set(self.content)
        statuses = self.it.manifests / "podstatuses"
        named = {name.partition(".")[0] for name in os.listdir(statuses)} if statuses.exists() else set()
        assert named == {self.volumes[pod].pod_uid for pod in self.content}


class _Idle:
    operations = 0


_IDLE: Any = _Idle()

TestDriver = DriverMachine.TestCase
TestDriver.settings = fuzzed(8, steps=25)
