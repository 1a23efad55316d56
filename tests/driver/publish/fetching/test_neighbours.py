"""Outages beside other things: refusals, calls that take long, accounts whose tokens end, memory, swap."""

import asyncio
import gc
import tracemalloc
from pathlib import Path

import grpc
import grpc.aio
import pytest

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, SHARE_ANNOTATION, ClassRef
from driver.providers.wire import MountReply
from driver.publish import renewals
from driver.publish.fetching import forgetting, replies
from driver.publish.fetching import held as held_module
from driver.publish.fetching.held import HeldReplies, HeldReply
from driver.publish.fetching.key import FetchKey
from driver.volume.memory import MemoryBudget
from driver.volume.payload import File, plan
from runtime import clock
from runtime.errors import NotFound, Unavailable
from tests.driver.publish.fetching.test_known_good import is_fresh, pod_status
from tests.driver.publish.support import known
from tests.support.outage_rig import KNOWN_GOOD, SHARED, outage_rig
from tests.support.waiting import run_async, until


@pytest.mark.parametrize("rotation", [False, True])
def test_a_refusal_after_the_return_is_reported(tmp_path: Path, rotation: bool) -> None:
    """The store is back and refuses → the pod status of a volume with old content says what it says."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=rotation) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            it.lab.quote = "the role is gone"
            it.refuse(grpc.StatusCode.PERMISSION_DENIED)
            await until(lambda: "the role is gone" in pod_status(it, volume)["lastFailure"]["message"], "the refusal")
            await volume.publish()
            assert "the role is gone" in pod_status(it, volume)["lastFailure"]["message"]

    run_async(run)


def test_no_call_from_before_a_refusal_is_joined(tmp_path: Path) -> None:
    """A call hangs, another pod of the account is refused, the hanging call succeeds → who came after the refusal has
    asked by itself, and is refused."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            hanging = it.lab.open
            hanging.clear()
            first = asyncio.create_task(it.volume("pod-a").publish())
            await it.served.wait_for_calls(1)
            it.lab.open = asyncio.Event()
            it.lab.open.set()
            it.refuse(grpc.StatusCode.PERMISSION_DENIED)
            assert (await it.volume("pod-b", attributes={"x": "y"}).failure())[0] == it.lab.code
            late = it.volume("pod-c")
            assert (await late.failure())[0] == it.lab.code and not late.mounted
            it.lab.code = None
            hanging.set()
            await first

    run_async(run)


def test_no_old_call_is_joined(tmp_path: Path) -> None:
    """A call has been in progress for longer than pods may share one → a new pod asks by itself."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class({SHARE_ANNOTATION: "1s"})
            it.lab.contents, hanging = b"old", it.lab.open
            hanging.clear()
            first = asyncio.create_task(it.volume("pod-a").publish())
            await it.served.wait_for_calls(1)
            it.pass_time(60)
            it.lab.open = asyncio.Event()
            it.lab.open.set()
            it.lab.contents = b"new"
            late = it.volume("pod-c")
            await late.publish()
            assert late.read() == b"new"
            hanging.set()
            await first

    run_async(run)


def test_impatient_pods_make_one_call(tmp_path: Path) -> None:
    """The store hangs, and pods start one after the other within the first one's patience → one call for all."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            # The rig, which has changed them, restores them.
            replies.PATIENCE_SECONDS, renewals.FIRST_PAUSE = 1.0, 20.0
            it.write_class({LAST_KNOWN_GOOD_ANNOTATION: "6h", SHARE_ANNOTATION: "1s"})
            await it.volume("pod-0").publish()
            it.pass_time(60)
            it.lab.open.clear()
            before = it.calls

            async def start(number: int) -> None:
                await asyncio.sleep(number * 0.04)
                await it.volume(f"pod-{number}").publish()

            await asyncio.gather(*map(start, range(1, 16)))
            assert it.calls - before <= 3

    run_async(run)


@pytest.mark.parametrize("after", ["6h", "1h"], ids=["while it is held", "when it is too old"])
def test_tokens_that_ended(tmp_path: Path, after: str) -> None:
    """The token of a waiting volume has ended, so nobody asks; the store is back → the next pod asks by itself, and the
    waiting volume gets what it has got."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class({LAST_KNOWN_GOOD_ANNOTATION: after})
            volume = await it.stale_volume(lifetime=-1.0)
            away = it.rig.driver.publish_path.held
            it.pass_time(3700)
            await until(lambda: after == "6h" or not len(away), "what is too old to go")
            await until(lambda: not it.rig.driver.publish_path.renewals._stale.away, "the asker to notice")
            it.back(b"new")
            late = it.volume("pod-2")
            await late.publish()
            assert late.read() == b"new" and "lastFailure" not in pod_status(it, late)
            await is_fresh(it, volume, b"new")

    run_async(run)


def test_an_answer_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod is served with old content, which takes long, and meanwhile the store answers another → the provider is
    not away for the next pod."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            renewals.FIRST_PAUSE = 3.0  # the rig, which has changed it, restores it
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            target = it.rig.driver.publish_path.publisher._refresher._target
            real, go_on, reached = target.commit, asyncio.Event(), asyncio.Event()

            async def slow(attempt, *rest):  # type: ignore[no-untyped-def]  # hands on what it gets
                if attempt.request.pod.name == "pod-2":
                    reached.set()
                    await go_on.wait()
                return await real(attempt, *rest)

            monkeypatch.setattr(target, "commit", slow)
            second = asyncio.create_task(it.volume("pod-2").publish())
            await reached.wait()
            it.back(b"new")
            await it.volume("pod-3").publish()
            go_on.set()
            await second
            fourth = it.volume("pod-4")
            await fourth.publish()
            assert fourth.read() == b"new" and "lastFailure" not in pod_status(it, fourth)

    run_async(run)


def test_a_status_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh content is there and its status cannot be written → it is written later, also without rotation."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            failed = asyncio.Event()

            def fails(*_: object) -> None:
                failed.set()
                raise OSError(5, "Input/output error")

            with monkeypatch.context() as patch:
                patch.setattr(it.rig.driver.backend.cluster, "_write", fails)
                it.back(b"new")
                await until(lambda: volume.read() == b"new" and failed.is_set(), "the content")
            await until(lambda: known(it.rig, volume).failure is None, "the status")

    run_async(run)


def test_swap_is_turned_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is held, and swap is turned on → it is forgotten."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            monkeypatch.setattr(held_module, "SWAP_SECONDS", 0.1)
            monkeypatch.setattr(held_module, "may_be_swapped", lambda: False)
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-0").publish()
            held = it.rig.driver.publish_path.held
            assert len(held) == 1
            monkeypatch.setattr(held_module, "may_be_swapped", lambda: True)
            await until(lambda: not len(held), "it to be forgotten")

    run_async(run)


def test_a_deleted_class_that_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch says that a class is gone, and it cannot be read at that moment → it is looked at again."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-0").publish()
            path = it.rig.driver.publish_path
            await until(lambda: not path.held.unchecked, "the first look")
            monkeypatch.setattr(forgetting, "AGAIN_SECONDS", 0.1)
            looked: list[ClassRef] = []

            async def get(class_ref: ClassRef) -> None:
                looked.append(class_ref)
                raise Unavailable("the API server is away") if len(looked) == 1 else NotFound("deleted")

            monkeypatch.setattr(it.rig.driver.backend.cluster, "get_class", get)
            path.forgetting._class_changed(next(iter(path.held._replies)).class_ref)
            await until(lambda: not len(path.held), "it to be forgotten")

    run_async(run)


def reply(namespace: str, number: int, files: list[File]) -> HeldReply:
    key = FetchKey(ClassRef(namespace, "c"), "u", b"%d" % number)
    return HeldReply(key, "v", MountReply({"a": "1"}, plan(files, readable_by_group=False)), clock.now(), 0.0, 1e6)


def test_directories_take_memory() -> None:
    """Files in many directories of their own → the counted size is about what they take."""

    def deep(number: int) -> HeldReply:
        names = ("/".join(f"{number}{file:02x}{level:02d}" for level in range(31)) for file in range(128))
        return reply("a", number, [File(f"{name}/f", 0o644, b"x") for name in names])

    gc.collect()
    tracemalloc.start()
    try:
        made = [deep(number) for number in range(4)]
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / 4
    finally:
        tracemalloc.stop()
    assert taken < 2 * made[0].size


def test_many_small_replies_do_not_displace_a_large_one() -> None:
    """Four namespaces hold as many replies as they may, and tiny ones → they displace each other, not a fifth's."""
    held = HeldReplies(MemoryBudget(0))
    large = reply("victim", 0, [File("a", 0o644, b"x" * 600_000)])
    assert held.put(large) == ""
    for number in range(256):
        for namespace in "abcd":
            held.put(reply(namespace, number, [File("a", 0o644, b"x" * 10)]))
    assert held.get(large.key) is not None
