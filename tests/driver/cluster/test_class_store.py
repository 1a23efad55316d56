"""The classes used by a node's volumes are read once and kept current by one watch, even if the watch fails."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from driver import limits
from driver.cluster.api import Api
from driver.cluster.class_store import ClassStore
from driver.ports import ClassRef, ProviderClass
from runtime.errors import NotFound, PermissionDenied, PreconditionFailed
from tests.driver.cluster.connecting import run
from tests.support.background import running
from tests.support.fake_api import Answer, Drop, Fault, HalfAnswer, Page, Silence, WatchError
from tests.support.fake_api_rig import FakeApiRig
from tests.support.waiting import until

CLASSES = "secretproviderclasses"
APP = ClassRef("default", "app")
Test = Callable[[ClassStore], Coroutine[Any, Any, None]]


def run_store(rig: FakeApiRig, test: Test, idle_seconds: float = 60.0) -> None:
    """Run a test with a store that watches."""

    async def with_store(api: Api) -> None:
        store = ClassStore(api, idle_seconds)
        async with running(store.run()):
            await test(store)

    run(rig.kubeconfig(), with_store)


async def learns(rig: FakeApiRig, store: ClassStore, provider: str) -> None:
    """Change the class's provider, and wait until the store returns it."""
    await store.get(APP)
    rig.make_class(provider=provider)

    async def known() -> ProviderClass | None:
        found = await store.get(APP)
        return found if found.provider == provider else None

    await until(known, f"provider {provider}")


def test_class_is_read_once(rig: FakeApiRig) -> None:
    """Ten volumes get a class concurrently, twice → one GET. Forget it and get it again → another GET."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        mark = rig.server.calls.mark()
        for _ in range(2):
            found = await asyncio.gather(*(store.get(APP) for _ in range(10)))
            assert {item.provider for item in found} == {"stub"}
        assert rig.count(mark) == {("get", CLASSES): 1}
        store.forget(APP)
        await store.get(APP)
        assert rig.count(mark) == {("get", CLASSES): 2}

    run_store(rig, test)


def test_class_does_not_exist(rig: FakeApiRig) -> None:
    """Get a class that does not exist → NotFound with the Go driver's message. Create it → listeners are notified."""

    async def test(store: ClassStore) -> None:
        changed: list[ClassRef] = []
        store.on_change(changed.append)
        await rig.watch_open()
        with pytest.raises(NotFound, match='SecretProviderClass.secrets-store.csi.x-k8s.io "app" not found'):
            await store.get(APP)
        rig.make_class()
        await until(lambda: changed == [APP], "the news")
        assert (await store.get(APP)).provider == "stub"

    run_store(rig, test)


def test_only_used_classes_are_read(rig: FakeApiRig) -> None:
    """One of three classes is in use; all change → one GET per change of the used one, and listeners are notified only
    if it differs, is deleted or is recreated."""
    for name in ("app", "other", "third"):
        rig.make_class(name)

    async def test(store: ClassStore) -> None:
        changed: list[ClassRef] = []
        store.on_change(changed.append)
        await rig.watch_open()
        await store.get(APP)
        mark = rig.server.calls.mark()
        for name in ("other", "third"):
            rig.make_class(name, provider="x")
        await learns(rig, store, "new")
        assert changed == [APP] and rig.count(mark) == {("get", CLASSES): 1}
        rig.api.patch(rig.path(CLASSES, "app"), {"metadata": {"labels": {"a": "b"}}})
        await until(lambda: rig.count(mark) == {("get", CLASSES): 2}, "the class to be read")
        rig.make_class("other", provider="y")
        assert (await store.get(APP)).provider == "new" and changed == [APP]
        rig.api.delete(rig.path(CLASSES, "app"))
        await until(lambda: changed == [APP, APP], "the deletion")
        with pytest.raises(NotFound):
            await store.get(APP)
        rig.make_class(provider="again")
        await until(lambda: changed == [APP] * 3, "the new one")
        assert (await store.get(APP)).provider == "again"

    run_store(rig, test)


def test_change_during_a_read(rig: FakeApiRig) -> None:
    """The class changes after the server has built its response and before it arrives → the class is read again."""
    rig.make_class(provider="old")
    rig.make_class("other")

    class Overtaken:
        """Delays a response until the class has changed and the watch has reported it: events come in order, and one
        that follows has another class read."""

        async def strike(self, exchange: Any) -> Any:
            answer = await exchange.proceed()
            mark = rig.server.calls.mark()
            rig.make_class(provider="new")
            rig.make_class("other", provider="new")
            await until(lambda: rig.server.calls.calls(mark, lambda call: call.path.endswith("/other")), "the event")
            return answer

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        await store.get(ClassRef("default", "other"))
        rule = rig.server.on("GET", "/app$", Overtaken(), times=1)
        assert (await store.get(APP)).provider == "new" and rule.hits == 1

    run_store(rig, test)


WATCHES: dict[str, Fault] = {
    "410": Answer(410),
    "410 as an event": WatchError(410),
    "500 as an event": WatchError(500),
    "503": Answer(503),
    "no JSON": Page(),
    "dropped": Drop(),
    "half a line": HalfAnswer(),
}


@pytest.mark.parametrize("fault", WATCHES.values(), ids=WATCHES)
def test_watch_fails(rig: FakeApiRig, fault: Fault) -> None:
    """The first watch fails, and the class changes before the next one starts → the store learns the change."""
    rig.make_class(provider="old")

    async def test(store: ClassStore) -> None:
        rule = rig.server.on("WATCH", "", fault, times=1)
        await store.get(APP)
        await until(lambda: rule.hits, "the first watch")
        await learns(rig, store, "new")
        await learns(rig, store, "newer")

    run_store(rig, test)


def test_watch_continues(rig: FakeApiRig) -> None:
    """All connections are cut → the watch continues from its last event: nothing is listed, and only the changed class
    is read."""
    rig.make_class()
    rig.make_class("other")

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        await store.get(ClassRef("default", "other"))
        await learns(rig, store, "one")
        mark = rig.server.calls.mark()
        rig.server.disconnect()
        await learns(rig, store, "two")
        assert rig.count(mark) == {("watch", CLASSES): 1, ("get", CLASSES): 1}

    run_store(rig, test)


def test_history_is_compacted(rig: FakeApiRig) -> None:
    """The watch is interrupted and the server compacts its history → the store lists one item, reads its classes again
    and watches from there."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        await learns(rig, store, "one")
        mark = rig.server.calls.mark()
        rig.make_class(provider="two")
        rig.server.store.compact()
        rig.server.disconnect()
        await until(lambda: rig.count(mark)["list", CLASSES], "the list")
        await learns(rig, store, "three")
        (listed,) = rig.server.calls.calls(mark, lambda call: call.verb == "list")
        assert listed.query == {"limit": "1"} and "PartialObjectMetadataList" in listed.headers["Accept"]

    run_store(rig, test)


def test_watch_falls_silent(rig: FakeApiRig) -> None:
    """A firewall drops the connection of the watch silently → another watch is opened after ``idle_seconds``."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        await store.get(APP)
        rig.server.on("WATCH", "", Silence(open_only=True))
        await learns(rig, store, "new")

    run_store(rig, test, idle_seconds=0.5)


def test_watch_is_forbidden(rig: FakeApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """The permission to watch is missing → one warning names it, however often it is tried. Grant it → the store learns
    changes."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        rule = rig.server.on("WATCH", "", Answer(403), times=2)
        await store.get(APP)
        await until(lambda: rule.hits == 2, "both refusals")
        await learns(rig, store, "new")

    with caplog.at_level(logging.WARNING):
        run_store(rig, test)
    assert sum("get, list and watch" in record.getMessage() for record in caplog.records) == 1


def test_read_is_forbidden(rig: FakeApiRig) -> None:
    """The permission to get is missing → PermissionDenied; the next caller tries again."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        await rig.watch_open()  # a list that ends during the read has it repeated
        rig.server.on("GET", "/app$", Answer(403), times=1)
        with pytest.raises(PermissionDenied):
            await store.get(APP)
        assert (await store.get(APP)).provider == "stub"

    run_store(rig, test)


NOT_SERVED = Page("404 page not found\n", 404)


@pytest.mark.parametrize(
    ("verb", "fault", "words", "not_words"),
    [
        ("GET", NOT_SERVED, "secretproviderclasses.secrets-store.csi.x-k8s.io is not installed", "account needs"),
        ("WATCH", NOT_SERVED, "secretproviderclasses.secrets-store.csi.x-k8s.io is not installed", "account needs"),
        ("GET", Answer(403), "account needs get, list and watch", "not installed"),
        ("WATCH", Answer(404), "account needs get, list and watch", "not installed"),
    ],
)
def test_missing_crds_are_told_from_missing_rights(
    rig: FakeApiRig, verb: str, fault: Fault, words: str, not_words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server does not know the kind, or denies the call → the one warning says which of both, and the watch is
    opened when that has changed."""

    async def test(store: ClassStore) -> None:
        await until(lambda: "to be watched" in caplog.text or "cannot be watched" in caplog.text, "the warning")
        shown = [f"{item.getMessage()} {getattr(item, 'fields', {}).get('err', '')}" for item in caplog.records]
        assert len([line for line in shown if words in line]) == 1
        assert not [line for line in shown if not_words in line]
        rule.lift()
        await rig.watch_open()

    rule = rig.server.on(verb, f"/{CLASSES}$", fault)
    with caplog.at_level(logging.WARNING):
        run_store(rig, test)


def test_read_without_crds(rig: FakeApiRig) -> None:
    """A class is read while its CRD is missing → the failure names the CRD and what to do, not the class; a 404 of a
    proxy or of the class itself is not taken for that."""

    async def test(store: ClassStore) -> None:
        await rig.watch_open()  # a list that ends during the read has it repeated
        with_fault = rig.server.on("GET", "/app$", NOT_SERVED, times=1)
        with pytest.raises(NotFound, match="the CRD secretproviderclasses.secrets-store.* is not installed: kubectl"):
            await store.get(APP)
        assert with_fault.hits == 1
        for fault in (Answer(404), Page("<html>not here</html>", 404)):
            rig.server.on("GET", "/app$", fault, times=1)
            with pytest.raises(NotFound, match='"app" not found'):
                await store.get(APP)

    run_store(rig, test)


@pytest.mark.parametrize("way", ["the class changes", "the watch is opened again"])
def test_a_forbidden_class_is_read_again(rig: FakeApiRig, way: str) -> None:
    """A class cannot be read (403) → listeners are told when it changes, and when the classes are listed again, so that
    it is read as soon as the permission is there."""
    rig.make_class()

    async def test(store: ClassStore) -> None:
        changed: list[ClassRef] = []
        store.on_change(changed.append)
        await rig.watch_open()
        rig.server.on("GET", "/app$", Answer(403), times=1)
        with pytest.raises(PermissionDenied):
            await store.get(APP)
        if way == "the class changes":
            rig.make_class(provider="other")
        else:
            rig.server.on("WATCH", "", Answer(403), times=1)
            rig.server.end_watches()
        await until(lambda: changed, "the news")
        assert (await store.get(APP)).provider == ("other" if way == "the class changes" else "stub")

    run_store(rig, test)


def test_a_class_that_cannot_be_used(rig: FakeApiRig) -> None:
    """A class in use gets more entries than a class may have → whoever asks for it is told so, the others are followed
    on, and listeners learn of it; it is corrected → it is known again."""
    rig.make_class()
    rig.make_class("other")
    heard: list[ClassRef] = []

    async def test(store: ClassStore) -> None:
        await rig.watch_open()
        store.on_change(heard.append)
        await store.get(ClassRef("default", "other"))
        await store.get(APP)
        rig.make_class(secretObjects=[{}] * (limits.MAX_CLASS_ENTRIES + 1))
        await until(lambda: APP in heard, "the change")
        for _ in range(2):
            with pytest.raises(PreconditionFailed, match="divide them among several classes"):
                await store.get(APP)
        rig.make_class("other", provider="changed")
        await until(lambda: ClassRef("default", "other") in heard, "the other class's change")
        heard.clear()
        rig.make_class()
        await until(lambda: APP in heard, "the correction")
        assert (await store.get(APP)).provider == "stub"

    run_store(rig, test)
