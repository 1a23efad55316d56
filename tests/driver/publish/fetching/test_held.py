"""What is held in memory, and for how long."""

from collections.abc import Iterator

import pytest

from driver import limits
from driver.ports import ClassRef
from driver.providers.wire import MountReply
from driver.publish.fetching import held as module
from driver.publish.fetching.held import HeldReplies, HeldReply
from driver.publish.fetching.key import FetchKey
from driver.volume import memory
from driver.volume.memory import MemoryBudget, Room
from driver.volume.payload import File, plan
from runtime import clock

KILO = 1024


@pytest.fixture(autouse=True)
def _no_swap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "may_be_swapped", lambda: False)
    return iter([None])


def reply(
    name: str = "app",
    namespace: str = "default",
    size: int = 1,
    age: float = 0.0,
    keep: float = 60.0,
    version: str = "1",
) -> HeldReply:
    """A reply with a file of ``size`` bytes."""
    tree = plan([File("a", 0o644, b"x" * size)], readable_by_group=False)
    key = FetchKey(ClassRef(namespace, name), "account", name.encode())
    return HeldReply(key, "1", MountReply({"a": "1"}, tree), clock.now() - age, 0.1, keep)


def test_kept_and_forgotten() -> None:
    """A reply is kept until it is too old; one that was asked for earlier does not replace it."""
    held = HeldReplies(MemoryBudget(0))
    newer, older = reply(age=1), reply(age=2)
    assert held.put(newer) == held.put(older) == ""
    assert held.get(newer.key) is newer
    assert held.get(reply("other").key) is None
    held.put(reply("old", age=61))
    assert held.get(reply("old").key) is None
    assert held.purge() is not None and len(held) == 1


def test_bytes_of_a_namespace() -> None:
    """A namespace holds more than its share → its own oldest are forgotten, and nobody else's."""
    held = HeldReplies(MemoryBudget(0))
    neighbour = reply("n", "neighbour", age=50)
    held.put(neighbour)
    part = limits.MAX_HELD_BYTES_OF_ONE // 4
    made = [reply(f"c{number}", size=part, age=40 - number) for number in range(8)]
    for item in made:
        held.put(item)
    assert [held.get(item.key) is not None for item in made] == [False] * 5 + [True] * 3
    assert held.get(neighbour.key) is neighbour
    assert held.size <= limits.MAX_HELD_BYTES_OF_ONE + 10 * KILO


def test_bytes_of_all() -> None:
    """Many namespaces hold too much together → the oldest of those that have most are forgotten."""
    held = HeldReplies(MemoryBudget(0))
    small = reply("n", "small", age=50)
    held.put(small)
    for number in range(12):
        held.put(reply("c", f"ns-{number}", size=limits.MAX_HELD_BYTES_OF_ONE // 2, age=40 - number))
    assert held.size <= limits.MAX_HELD_BYTES
    assert held.get(small.key) is small
    assert held.get(reply("c", "ns-0").key) is None and held.get(reply("c", "ns-11").key) is not None


def test_number_of_replies() -> None:
    """A namespace has thousands of classes → so many replies are held, the newest."""
    held = HeldReplies(MemoryBudget(0))
    for number in range(limits.MAX_HELD_REPLIES_OF_ONE + 50):
        held.put(reply(f"c{number}", age=50 - number / 100))
    assert len(held) == limits.MAX_HELD_REPLIES_OF_ONE
    assert held.get(reply("c49").key) is None and held.get(reply("c50").key) is not None


def test_number_of_all() -> None:
    """Each of many namespaces has few → so many in all."""
    held = HeldReplies(MemoryBudget(0))
    for number in range(limits.MAX_HELD_REPLIES + 20):
        held.put(reply("c", f"ns-{number % 300}-{number}"))
    assert len(held) == limits.MAX_HELD_REPLIES


def test_too_large() -> None:
    """One reply is larger than a namespace's share → it is not held, which is said; a smaller one before it is not
    kept either, since it is not what the store has."""
    held = HeldReplies(MemoryBudget(0))
    held.put(reply(age=1))
    assert "and at most 4194304 are kept" in held.put(reply(size=limits.MAX_HELD_BYTES_OF_ONE))
    assert len(held) == 0


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's memory is used up → nothing is held."""
    monkeypatch.setattr(memory, "rooms", lambda: [Room(100 * KILO, 99 * KILO)])
    held = HeldReplies(MemoryBudget(KILO))
    assert "do not fit into the memory" in held.put(reply(size=KILO)) and len(held) == 0


def test_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's memory may be swapped to a disk → nothing is held, which is said."""
    monkeypatch.setattr(module, "may_be_swapped", lambda: True)
    held = HeldReplies(MemoryBudget(0))
    assert "might reach a disk" in held.put(reply()) and len(held) == 0


def test_class_changes() -> None:
    """A class has another version, another time to keep, or none → only what a new pod may get is kept; who caches the
    class is told when nothing of it is held any more."""
    held = HeldReplies(MemoryBudget(0))
    unused: list[ClassRef] = []
    held.on_class_unused = unused.append
    item = reply()
    held.put(item)
    held.put(reply("other"))
    held.revise(item.key.class_ref, "1", 3600.0)
    kept = held.get(item.key)
    assert kept is not None and kept.keep == 3600.0 and kept.reply is item.reply
    held.revise(item.key.class_ref, "2", 3600.0)
    assert held.get(item.key) is None and unused == [item.key.class_ref]
    held.revise(ClassRef("default", "other"), "1", 0.0)
    assert len(held) == 0


def test_refused() -> None:
    """The store refuses an account → all of its replies of that class are forgotten, and no others."""
    held = HeldReplies(MemoryBudget(0))
    item, same_account = reply(), reply("other")
    held.put(item)
    held.put(same_account)
    held.forget(item.key.class_ref, "somebody else")
    assert len(held) == 2
    held.forget(item.key.class_ref, "account")
    assert held.get(item.key) is None and held.get(same_account.key) is same_account


def test_refused_during_a_call() -> None:
    """The store refuses an account while another call of it is in progress, which then succeeds → its reply is not
    held, since the refusal may be the later answer; that of the next call is."""
    held = HeldReplies(MemoryBudget(0))
    item = reply()
    held.forget(item.key.class_ref, "account")
    assert held.put(item) == "" and len(held) == 0
    assert held.put(reply(age=-1.0)) == "" and len(held) == 1


def test_not_shown() -> None:
    """Neither the content nor the key's digest is in a representation, which a bug may log."""
    item = reply(size=30)
    assert "xxx" not in repr(item) and "digest" not in repr(item)
