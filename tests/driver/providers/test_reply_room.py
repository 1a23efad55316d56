"""How many replies are in memory at a time."""

import asyncio
from contextvars import copy_context
from pathlib import Path

import grpc
import pytest

from driver import limits
from driver.providers.reply_room import ReplyRoom
from driver.volume.memory import MemoryBudget
from driver.volume.workers import TENANT
from protos import provider_pb2
from runtime.errors import ResourceExhausted
from tests.attacks.hostile_provider import hostile_provider, reply_with
from tests.support.rig import rig
from tests.support.waiting import until

FOUR_MIB = 4 * 1024 * 1024


class Turns:
    """Calls that hold their places until they may end."""

    def __init__(self) -> None:
        self.room = ReplyRoom(MemoryBudget(0), FOUR_MIB)
        self.inside: list[str] = []
        self.may_end = asyncio.Event()

    def start(self, tenant: str, large: bool, seconds: float = 20.0) -> "asyncio.Task[None]":
        context = copy_context()
        context.run(TENANT.set, tenant)
        return asyncio.create_task(self._hold(tenant, large, seconds), context=context)

    async def _hold(self, tenant: str, large: bool, seconds: float) -> None:
        async with self.room.turn(large, asyncio.get_running_loop().time() + seconds):
            self.inside.append(tenant)
            await self.may_end.wait()


@pytest.mark.parametrize(("large", "most"), [(True, limits.LARGE_REPLIES_OF_ONE), (False, limits.SMALL_REPLIES_OF_ONE)])
def test_a_tenants_share(large: bool, most: int) -> None:
    """A namespace asks for twice its share of replies → it has its share; another namespace's reply is not in its way;
    all have their turn in the end."""

    async def run() -> None:
        turns = Turns()
        many = [turns.start("many", large) for _ in range(2 * most)]
        await until(lambda: len(turns.inside) == most, "the share")
        one = turns.start("one", large)
        await until(lambda: turns.inside.count("one"), "the other's turn")
        assert turns.inside.count("many") == most
        turns.may_end.set()
        await asyncio.gather(one, *many)

    asyncio.run(run())


def test_a_turn_that_does_not_come() -> None:
    """All places are taken until the deadline → RESOURCE_EXHAUSTED, after which kubelet tries again, in a sentence; the
    places are not lost."""

    async def run() -> None:
        turns = Turns()
        tasks = [turns.start(f"tenant-{number}", True) for number in range(limits.LARGE_REPLIES)]
        await until(lambda: len(turns.inside) == limits.LARGE_REPLIES, "the places")
        with pytest.raises(ResourceExhausted, match="it will be tried again"):
            await turns.start("late", True, 0.05)
        turns.may_end.set()
        await asyncio.gather(*tasks, turns.start("late", True))

    asyncio.run(run())


def test_how_many_are_remembered() -> None:
    """Large replies for more subjects than are remembered → the newest ones are."""
    room = ReplyRoom(MemoryBudget(0), FOUR_MIB)
    for number in range(limits.MAX_LARGE_SUBJECTS + 10):
        room.note_large(f"ns/class-{number}")
    assert room.is_large(f"ns/class-{limits.MAX_LARGE_SUBJECTS + 9}") and not room.is_large("ns/class-9")


@pytest.mark.parametrize(
    ("size", "options", "calls"),
    [
        (1000, {}, [1, 1, 1]),
        (limits.SMALL_REPLY_BYTES - 1000, {}, [1, 1, 1]),
        (limits.SMALL_REPLY_BYTES + 1, {}, [2, 1, 1]),
        (FOUR_MIB - 1000, {}, [2, 1, 1]),
        (90_000, {"max_call_recv_msg_size": 100_000}, [1, 1, 1]),
    ],
)
def test_how_often_a_provider_is_called(tmp_path: Path, size: int, options: dict[str, int], calls: list[int]) -> None:
    """A reply of any size that is allowed arrives; one that is not small is called for twice, but only the first one of
    its class."""
    counted = 0

    def reply(_: grpc.ServicerContext) -> provider_pb2.MountResponse:
        nonlocal counted
        counted += 1
        return reply_with({"f": b"x" * size})

    async def run() -> None:
        async with rig(tmp_path, **options) as it:
            it.write_class("sized", provider="hostile", parameters={"reply": "sized"})
            with hostile_provider(it.providers_dir, {"sized": reply}):
                for number, expected in enumerate(calls):
                    before = counted
                    volume = it.volume(f"pod-{number}", class_name="sized")
                    await volume.publish()
                    assert len(volume.read("f")) == size and counted - before == expected

    asyncio.run(run())


@pytest.mark.parametrize(
    ("size", "options", "limit"),
    [(FOUR_MIB + 1, {}, FOUR_MIB), (200_000, {"max_call_recv_msg_size": 100_000}, 100_000)],
)
def test_what_is_too_large(tmp_path: Path, size: int, options: dict[str, int], limit: int) -> None:
    """A reply that is larger than the flag allows → an error that names the flag and its value."""

    async def run() -> None:
        async with rig(tmp_path, **options) as it:
            it.write_class("sized", provider="hostile", parameters={"reply": "sized"})
            with hostile_provider(it.providers_dir, {"sized": lambda _: reply_with({"f": b"x" * size})}):
                code, sentence = await it.volume(class_name="sized").failure()
                assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert f"--max-call-recv-msg-size={limit}" in sentence

    asyncio.run(run())
