"""A Secret that the drivers of two nodes and two classes write, and people edit meanwhile, as a state machine beside a
plain model: whatever the order of their calls, the last published content wins, nothing of anybody else's is
lost, and when nothing happens any more, nothing is written any more.

The calls are those of the real writer; the API server is the store of the fake one, which answers one call at a time,
in an order that the test chooses.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driver.cluster import secrets
from driver.cluster.answers import failure_of
from driver.cluster.api import Api
from driver.cluster.statuses.store import StatusStore
from driver.ports import ClassRef, Pod
from driver.sync.jobs import Member
from driver.sync.ledger import Ledger
from driver.sync.merge import ADOPT, LEDGER, Outcome
from driver.sync.owners import Owners
from driver.sync.references import Owner
from driver.sync.wanted import Wanted
from runtime.errors import Aborted
from tests.fuzz.effort import fuzzed, tally
from tests.support.fake_api import ApiError, Object, paths
from tests.support.fake_api.resources import MERGE_PATCH, Resources
from tests.support.fake_api.store import Store

PATH = "/api/v1/namespaces/default/secrets/synced"
NODES, CLASSES = ("node-1", "node-2"), ("one", "two")
# Far enough apart that no clock makes them the same age.
STEP_SECONDS = 60.0
MOST_ROUNDS = 4
SPOILT = ("", "nonsense", "[]", '{"classes":{"one":{}}}', '{"classes":{"one":{"data":5}}}', '{"classes":[]}',
          '{"classes":{"one":{"data":["x"],"fetched":1e999}}}', '{"classes":{"one":{"fetched":' + "9" * 400 + "}}}",
          "[" * 100_000, '{"adopted":true,"classes":{}}')  # fmt: skip  # one line for each would hide the list

node = st.sampled_from(NODES)
class_name = st.sampled_from(CLASSES)
# Each class has keys of its own, and one that the other may list as well.
keys = st.lists(st.sampled_from(["a", "b", "shared"]), min_size=1, max_size=3, unique=True)
values = st.sampled_from([b"", b"1", b"2", b"3"])


class DirectApi:
    """Answers one call after the other, when told to."""

    def __init__(self, resources: Resources, server_time: Callable[[], float]) -> None:
        self.resources = resources
        self.server_time = server_time
        self.waiting: list[asyncio.Future[None]] = []

    async def call(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", webhook_seconds: float = 0.0
    ) -> Object:
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn
        target = paths.parse(path)
        try:
            if method == "GET":
                return self.resources.get(target)
            if method == "POST":
                return self.resources.create(target, body)
            assert (method, content_type) == ("PATCH", MERGE_PATCH)
            return self.resources.patch(target, content_type, body)
        except ApiError as error:
            failure = failure_of(error.status)
            assert failure is not None
            raise failure(str(error)) from None


class SecretMachine(RuleBasedStateMachine):
    """``listed`` are the keys of each class, ``volumes`` the values and the time of each node's volume of a class,
    ``theirs`` the keys that people have added."""

    def __init__(self) -> None:
        super().__init__()
        tally("runs of the Secret machine")
        self.now = 1_000_000.0  # by all clocks
        self.runner = asyncio.Runner()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(secrets, "PAUSE", 0.0)  # between the attempts of a writer
        self.resources = Resources(Store())
        self.api = DirectApi(self.resources, lambda: self.now)
        self.patch.setattr(secrets, "clock", SimpleNamespace(now=lambda: self.now))
        store = StatusStore(cast(Api, self.api), "node", "driver")
        self.writer = secrets.SecretWriter(cast(Api, self.api), store)
        self.tasks: list[tuple[str, asyncio.Task[Outcome]]] = []
        self.listed: dict[str, list[str]] = {"one": ["a"], "two": ["b"]}
        self.labelled: dict[str, bool] = dict.fromkeys(CLASSES, False)
        self.volumes: dict[tuple[str, str], tuple[bytes, float]] = {}
        self.written: dict[str, float] = {}  # the newest content of each class that a volume has had
        self.theirs: dict[str, bytes] = {}
        self.spoilt = False
        self.owners: set[str] = set()  # of the writers that have ended

    def teardown(self) -> None:
        if self.volumes:
            self.settle()
        self.runner.close()
        self.patch.undo()

    # What the model says.

    def names(self, class_name: str) -> set[str]:
        """The keys of a class: its own have its name."""
        return {key if key == "shared" else f"{class_name}-{key}" for key in self.listed[class_name]}

    def live(self) -> set[str]:
        """The classes that have a volume."""
        return {name for _, name in self.volumes}

    def wanted(self, node: str, class_name: str) -> Wanted:
        value, refreshed = self.volumes[node, class_name]
        data = {key: key.encode() + value for key in self.names(class_name)}
        labels = {f"label-{class_name}": "x"} if self.labelled[class_name] else {}
        content = f"{node} {class_name} {refreshed}"
        return Wanted("default", "synced", "Opaque", class_name, data, labels, {}, refreshed, content)

    def newest(self, class_name: str) -> Wanted | None:
        """What the last published volume of a class wants; None if that is gone: nobody knows what it wanted."""
        found = max((at, node) for (node, name), (_, at) in self.volumes.items() if name == class_name)
        return self.wanted(found[1], class_name) if found[0] >= self.written[class_name] else None

    def secret(self) -> Object | None:
        try:
            return self.resources.get(paths.parse(PATH))
        except ApiError:
            return None

    def owner_uids(self) -> set[str]:
        metadata = (self.secret() or {}).get("metadata") or {}
        return {item["uid"] for item in metadata.get("ownerReferences") or ()}

    def data(self) -> dict[str, bytes]:
        return {key: b64decode(text) for key, text in ((self.secret() or {}).get("data") or {}).items()}

    # What is done.

    def spin(self) -> None:
        """Let the writers run as far as their next calls."""
        self.runner.run(_pause())
        for uid, task in self.tasks[:]:
            if task.done():
                self.tasks.remove((uid, task))
                with suppress(Aborted):  # others have changed the Secret each time; it is tried again later
                    task.result()
                    self.owners |= self.owner_uids() & {uid}  # none of an adopted Secret

    def start(self, node: str, class_name: str) -> asyncio.Task[Outcome]:
        wanted = self.wanted(node, class_name)
        uid = f"{node}-{class_name}"

        async def read(*_: object) -> list[Owner]:
            return [Owner("apps/v1", "ReplicaSet", uid, uid)]

        member = Member(Pod("default", uid, uid), ClassRef("default", class_name), f"/{uid}", None)
        task = self.runner.get_loop().create_task(self.writer.ensure(wanted, Owners([member], read)))
        self.tasks.append((uid, task))
        self.spin()
        return task

    def finish(self, task: asyncio.Task[Outcome]) -> Outcome:
        """Answer all calls, the first one first, until this writer has ended; it removes nothing that the ledger knows
        to be listed by a class that lists it still."""
        kept = self.data().keys() & self.known_keys()
        while not task.done():
            self.api.waiting.pop(0).set_result(None)
            self.spin()
        assert kept <= self.data().keys()
        return task.result()

    @rule(node=node, class_name=class_name, value=values)
    def publish(self, node: str, class_name: str, value: bytes) -> None:
        """A volume is published or refreshed, and its Secret begins to be written."""
        self.now += STEP_SECONDS
        self.volumes[node, class_name] = value, self.now
        self.written[class_name] = self.now
        self.start(node, class_name)

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        """The Secret of a volume is looked after."""
        node, class_name = data.draw(st.sampled_from(sorted(self.volumes)))
        self.start(node, class_name)

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def unpublish(self, data: st.DataObject) -> None:
        """A volume is gone; what it has written stays."""
        del self.volumes[data.draw(st.sampled_from(sorted(self.volumes)))]

    @rule(class_name=class_name, listed=keys, labelled=st.booleans(), settles=st.booleans())
    def edit_class(self, class_name: str, listed: list[str], labelled: bool, settles: bool) -> None:
        """The author of a class lists other keys and labels."""
        self.listed[class_name], self.labelled[class_name] = listed, labelled
        if settles and self.volumes:
            self.settle()

    @rule(class_name=class_name, value=values)
    def share_and_drop(self, class_name: str, value: bytes) -> None:
        """Both classes list a key, with the same value; then one of them lists it no longer → the other one has it."""
        for name in CLASSES:
            self.listed[name] = ["a", "shared"]
            self.publish(NODES[0], name, value)
        self.run_to_the_end()
        for name in CLASSES:
            self.finish(self.start(NODES[0], name))
        self.listed[class_name] = ["a"]
        self.finish(self.start(NODES[0], class_name))

    @precondition(lambda self: self.api.waiting)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The API server answers any of the calls."""
        at = data.draw(st.integers(0, len(self.api.waiting) - 1))
        self.api.waiting.pop(at).set_result(None)
        self.spin()

    @precondition(lambda self: self.secret() is not None)
    @rule(key=st.sampled_from(["own", "mine"]), value=values)
    def somebody_adds(self, key: str, value: bytes) -> None:
        """Somebody writes a key of their own into the Secret."""
        self.change({"data": {key: b64encode(value).decode()}})
        self.theirs[key] = value

    @precondition(lambda self: self.secret() is not None)
    @rule(value=values, data=st.data())
    def somebody_changes(self, value: bytes, data: st.DataObject) -> None:
        """Somebody changes or removes a key that is not theirs."""
        managed = sorted(self.data().keys() - self.theirs.keys())
        if managed:
            new = data.draw(st.sampled_from([None, b64encode(value).decode()]))
            self.change({"data": {data.draw(st.sampled_from(managed)): new}})

    @precondition(lambda self: self.secret() is not None)
    @rule()
    def somebody_deletes(self) -> None:
        """Somebody deletes the Secret."""
        self.resources.delete(paths.parse(PATH))
        self.theirs.clear()
        self.owners.clear()
        self.spoilt = False

    @precondition(lambda self: self.secret() is not None)
    @rule(text=st.sampled_from(SPOILT))
    def somebody_spoils_the_ledger(self, text: str) -> None:
        """What was written is not known any more: keys that a class dropped before may stay."""
        self.change({"metadata": {"annotations": {LEDGER: text}}})
        self.spoilt = True

    @precondition(lambda self: self.secret() is None and not self.api.waiting)
    @rule()
    def somebody_creates(self) -> None:
        """The Secret is somebody else's, who allows that it is adopted."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": "synced", "annotations": {ADOPT: "true"}},
            "data": {"own": b64encode(b"o").decode()},
        }
        self.resources.create(paths.parse(PATH.rpartition("/")[0]), body)
        self.theirs["own"] = b"o"

    def change(self, body: Object) -> None:
        self.resources.patch(paths.parse(PATH), MERGE_PATCH, body)

    @precondition(lambda self: self.volumes)
    @rule()
    def settle(self) -> None:
        """Nothing happens any more but that each volume's Secret is looked after → after a few rounds nothing is
        written any more, and the Secret is what the model says."""
        self.run_to_the_end()
        live = sorted(item for item in self.volumes)
        if len(self.live()) == 2 and all("shared" in self.listed[name] for name in CLASSES):
            self.check_shared(live)
            return
        for _ in range(MOST_ROUNDS):
            outcomes = [self.finish(self.start(*volume)) for volume in live]
            if not any(outcome.written for outcome in outcomes):
                break
        else:
            raise AssertionError("it is written again and again")
        self.check_settled()

    def known_keys(self) -> set[str]:
        """The keys of all classes that have a volume, as far as the ledger has them."""
        annotations = ((self.secret() or {}).get("metadata") or {}).get("annotations") or {}
        ledger = Ledger.parse(annotations.get(LEDGER), self.now)
        classes = {} if ledger is None else json.loads(ledger.text())["classes"]
        return {key for name in self.live() & classes.keys() for key in self.names(name) & set(classes[name]["data"])}

    def run_to_the_end(self) -> None:
        """Answer all calls."""
        while self.api.waiting:
            self.api.waiting.pop(0).set_result(None)
            self.spin()
        assert not self.tasks

    def check_shared(self, live: list[tuple[str, str]]) -> None:
        """Both classes list a key: whoever writes last has it, and the other's keys are left alone."""
        for volume in live:
            before = self.data()
            self.finish(self.start(*volume))
            after, wanted = self.data(), self.wanted(*volume)
            if self.volumes[volume][1] >= self.written[volume[1]]:
                assert all(after[key] == value for key, value in wanted.data.items())
            others = [key for key in before if key.startswith(CLASSES[volume[1] == "one"])] + list(self.theirs)
            assert all(after.get(key) == before.get(key) for key in others)

    def check_settled(self) -> None:
        """The last published content, and what people have added."""
        secret, data = self.secret(), self.data()
        assert secret is not None
        assert all(data.get(key) == value for key, value in self.theirs.items())
        allowed = set(self.theirs)
        for name in CLASSES:
            if name not in self.live():
                allowed |= {key for key in data if key.startswith(name) or key == "shared"}  # stays with its owners
                continue
            allowed |= self.names(name)
            assert self.names(name) <= data.keys()
            newest = self.newest(name)
            assert newest is None or all(data[key] == value for key, value in newest.data.items())
            labels = secret["metadata"].get("labels") or {}
            assert (f"label-{name}" in labels) >= self.labelled[name]
            assert self.spoilt or (f"label-{name}" in labels) == self.labelled[name]
        assert self.spoilt or data.keys() <= allowed, (data, allowed)
        ledger = json.loads(secret["metadata"]["annotations"][LEDGER])
        assert ledger["adopted"] or self.owner_uids() >= {f"{node}-{name}" for node, name in self.volumes}

    @invariant()
    def nothing_of_others_is_lost(self) -> None:
        tally("steps of the Secret machine")
        data = self.data()
        assert all(data.get(key) == value for key, value in self.theirs.items())
        assert self.owner_uids() >= self.owners


async def _pause() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


TestSecrets = SecretMachine.TestCase
TestSecrets.settings = fuzzed(60, steps=40)
