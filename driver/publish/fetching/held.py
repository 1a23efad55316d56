"""Replies of providers that are kept in memory, for classes whose annotations ask for it. Nowhere else: a restart of
the driver forgets them."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property

from driver import limits
from driver.ports import ClassRef
from driver.providers.wire import MountReply
from driver.publish.fetching.key import FetchKey
from driver.volume.memory import MemoryBudget, may_be_swapped
from driver.volume.payload import Leaf, Tree
from runtime import clock
from runtime.errors import ResourceExhausted

# What a file or a version takes in memory besides its text.
_ENTRY_BYTES = 512
# How often it is looked whether swap was turned on.
SWAP_SECONDS = 60.0


def _size(tree: Tree) -> int:
    """Directories take as much as files: a path may have 32."""
    return sum(
        len(name) + _ENTRY_BYTES + (len(below.contents) if isinstance(below, Leaf) else _size(below))
        for name, below in tree.items()
    )


@dataclass(frozen=True)
class HeldReply:
    """A reply to a call that began at the moment ``fetched_at`` and took ``took`` seconds; forgotten when it is older
    than ``keep`` seconds. ``version`` is that of its class."""

    key: FetchKey
    version: str
    reply: MountReply = field(repr=False)
    fetched_at: float
    took: float
    keep: float

    @property
    def age(self) -> float:
        """In seconds, by the clock that nobody can set, and that goes on while the machine is suspended."""
        return clock.now() - self.fetched_at

    @cached_property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return _size(self.reply.payload) + sum(
            len(text) + _ENTRY_BYTES for item in self.reply.objects.items() for text in item
        )


class HeldReplies:
    """The replies, up to so many and so much of each namespace and of all: of more, the oldest is forgotten."""

    def __init__(self, memory: MemoryBudget) -> None:
        self._memory = memory
        self._replies: dict[FetchKey, HeldReply] = {}
        # When the store has refused an account what a class asks for.
        self._refused: dict[tuple[ClassRef, str], float] = {}
        # Classes that may have changed since a reply that is held was asked for; ``changed`` is set when there are any.
        self.unchecked: set[ClassRef] = set()
        self.changed = asyncio.Event()
        # Called when nothing of a class is held any more.
        self.on_class_unused: Callable[[ClassRef], None] = lambda _: None

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def size(self) -> int:
        """The bytes of all."""
        return sum(held.size for held in self._replies.values())

    def get(self, key: FetchKey) -> HeldReply | None:
        """The reply for a key, unless it is too old to be of use."""
        held = self._replies.get(key)
        if held is not None and held.age > held.keep:
            self._drop([key])
            return None
        return held

    def put(self, held: HeldReply) -> str:
        """Keep a reply in place of an older one. Returns why it is not kept; empty if it is."""
        former = self._replies.get(held.key)
        if former is not None and former.fetched_at > held.fetched_at:
            return ""
        if held.fetched_at <= self.refused_at(held.key):
            return ""  # a refusal is the later answer
        if why_not := self._why_not(held):
            self._drop([held.key] if former is not None else [])
            return why_not
        self._replies[held.key] = held
        self.check(held.key.class_ref)
        self._make_room(held.key.class_ref.namespace)
        return ""

    def _why_not(self, held: HeldReply) -> str:
        if held.size > limits.MAX_HELD_BYTES_OF_ONE:
            return f"the reply takes {held.size} bytes, and at most {limits.MAX_HELD_BYTES_OF_ONE} are kept"
        if may_be_swapped():
            return "the node has swap, so that what is kept might reach a disk: turn it off for the driver's container"
        try:
            with self._memory.reserve(held.size):
                return ""
        except ResourceExhausted as full:
            return str(full)

    def forget(self, class_ref: ClassRef, account: str) -> None:
        """The store has refused an account what a class asks for: what it replies to earlier calls counts no more."""
        self._refused.pop((class_ref, account), None)
        self._refused[class_ref, account] = clock.now()
        if len(self._refused) > limits.MAX_HELD_REPLIES:
            del self._refused[next(iter(self._refused))]
        self._drop([key for key in self._replies if (key.class_ref, key.account) == (class_ref, account)])

    def refused_at(self, key: FetchKey) -> float:
        """The moment of the last refusal of what the class asks for, for this account."""
        return self._refused.get((key.class_ref, key.account), float("-inf"))

    def check(self, class_ref: ClassRef) -> None:
        """A class may have changed: ``forgetting`` looks at it, and calls ``revise``."""
        self.unchecked.add(class_ref)
        self.changed.set()

    def revise(self, class_ref: ClassRef, version: str, keep: float) -> None:
        """A class has this version now, and asks for its replies to be kept for ``keep`` seconds: forget the others."""
        for key, held in list(self._replies.items()):
            if key.class_ref == class_ref:
                if held.version == version and keep > 0:
                    self._replies[key] = replace(held, keep=keep)
                else:
                    self._drop([key])

    def purge(self) -> float | None:
        """Forget what is too old; returns the seconds until the next will be, None if nothing is held."""
        swapped = bool(self._replies) and may_be_swapped()  # swap was turned on meanwhile
        self._drop([key for key, held in self._replies.items() if swapped or held.age > held.keep])
        return min((min(held.keep - held.age, SWAP_SECONDS) for held in self._replies.values()), default=None)

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether replies of a class are held."""
        return any(key.class_ref == class_ref for key in self._replies)

    def _make_room(self, namespace: str) -> None:
        """Of one that has too much, and of all, forget the oldest; of all, that of the namespace that has the most."""
        own = [held for key, held in self._replies.items() if key.class_ref.namespace == namespace]
        self._shrink(own, limits.MAX_HELD_REPLIES_OF_ONE, limits.MAX_HELD_BYTES_OF_ONE)
        while len(self._replies) > limits.MAX_HELD_REPLIES or self.size > limits.MAX_HELD_BYTES:
            of_namespaces: dict[str, list[HeldReply]] = {}
            for key, held in self._replies.items():
                of_namespaces.setdefault(key.class_ref.namespace, []).append(held)
            largest = max(of_namespaces.values(), key=_part)
            self._drop([min(largest, key=lambda held: held.fetched_at).key])

    def _shrink(self, replies: list[HeldReply], most: int, most_bytes: int) -> None:
        replies.sort(key=lambda held: held.fetched_at, reverse=True)
        while len(replies) > most or sum(held.size for held in replies) > most_bytes:
            self._drop([replies.pop().key])

    def _drop(self, keys: Collection[FetchKey]) -> None:
        for key in keys:
            del self._replies[key]
        for class_ref in {key.class_ref for key in keys}:
            if not self.uses(class_ref):
                self.on_class_unused(class_ref)


def _part(replies: Collection[HeldReply]) -> float:
    """The part of the node's bounds that replies take."""
    size = sum(held.size for held in replies)
    return max(len(replies) / limits.MAX_HELD_REPLIES, size / limits.MAX_HELD_BYTES)
