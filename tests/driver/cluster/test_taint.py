"""The startup taint is removed from the node once kubelet has registered the driver; nothing else changes."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from driver.cluster import taint
from driver.cluster.api import Api
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, ApiError
from tests.support.fake_api_rig import FakeApiRig
from tests.support.waiting import until

NODE, DRIVER, KEY = "node-1", "secrets-store.csi.k8s.io", "secrets-store.csi.k8s.io/agent-not-ready"
TAINT = {"key": KEY, "effect": "NoExecute"}
OTHER = {"key": "other", "effect": "NoSchedule"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(taint, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(taint, "FORBIDDEN_PAUSE", 0.02)
    monkeypatch.setattr(taint, "PROVIDERS_PAUSE", 0.02)


async def nobody(name: str) -> bool:
    """No provider answers."""
    return False


def make_node(rig: FakeApiRig, *taints: dict[str, str]) -> None:
    """Create a node with taints."""
    rig.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"taints": list(taints)}})


def register(rig: FakeApiRig, *drivers: str) -> None:
    """Register drivers, as kubelet does."""
    rig.api.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": NODE},
            "spec": {"drivers": [{"name": name, "nodeID": NODE} for name in drivers]},
        }
    )


def spec(rig: FakeApiRig) -> dict[str, Any]:
    """The node's spec."""
    found: dict[str, Any] = rig.api.get(f"/api/v1/nodes/{NODE}")["spec"]
    return found


async def remove(api: Api, providers: Sequence[str] = (), answers: taint.Answers = nobody) -> None:
    """Remove the taint, as the driver does."""
    await taint.remove_startup_taint(api, NODE, DRIVER, KEY, providers, answers)


@pytest.mark.parametrize(
    ("taints", "left"), [([TAINT], {}), ([OTHER, TAINT], {"taints": [OTHER]}), ([TAINT, {**TAINT, "effect": "x"}], {})]
)
def test_removal(rig: FakeApiRig, taints: list[dict[str, str]], left: dict[str, Any]) -> None:
    """The driver is registered → one PATCH; other taints stay."""
    make_node(rig, *taints)
    register(rig, "another", DRIVER)
    run(rig.kubeconfig(), remove)
    assert spec(rig) == left and rig.count()["patch", "nodes"] == 1


@pytest.mark.parametrize("taints", [[], [OTHER]])
def test_node_without_the_taint(rig: FakeApiRig, taints: list[dict[str, str]]) -> None:
    """The node does not have the taint → it is not written."""
    make_node(rig, *taints)
    register(rig, DRIVER)
    run(rig.kubeconfig(), remove)
    assert spec(rig) == {"taints": taints} and rig.count()["patch", "nodes"] == 0


def test_waits_for_registration(rig: FakeApiRig) -> None:
    """No CSINode, then one with another driver → the taint stays until the driver is registered."""
    make_node(rig, TAINT)

    async def test(api: Api) -> None:
        removing = asyncio.create_task(remove(api))
        await until(lambda: rig.count()["get", "csinodes"] > 1, "two looks")
        register(rig, "another")
        seen = rig.count()["get", "csinodes"]
        await until(lambda: rig.count()["get", "csinodes"] > seen + 1, "two more looks")
        assert spec(rig) == {"taints": [TAINT]} and rig.count()["get", "nodes"] == 0
        register(rig, DRIVER)
        await removing
        assert spec(rig) == {}

    run(rig.kubeconfig(), test)


def test_waits_for_providers(rig: FakeApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """Of two providers one answers, then both, but one of a third is not asked for → the taint stays until both do; a
    log line for each change says which are missing, and the node is not read meanwhile."""
    make_node(rig, TAINT)
    register(rig, DRIVER)
    there, asked = {"other"}, list[str]()

    async def answers(name: str) -> bool:
        asked.append(name)
        return name in there

    def asked_more(times: int) -> bool:
        return len(asked) >= times

    async def test(api: Api) -> None:
        removing = asyncio.create_task(remove(api, ("one", "two"), answers))
        for name in ("one", "two"):
            seen = len(asked)
            await until(partial(asked_more, seen + 6), "three rounds")
            assert spec(rig) == {"taints": [TAINT]} and rig.count()["get", "nodes"] == 0
            there.add(name)
        await removing
        assert spec(rig) == {}

    with caplog.at_level(logging.INFO):
        run(rig.kubeconfig(), test)
    lines = [vars(record)["fields"] for record in caplog.records if taint.WAITING in record.getMessage()]
    assert [line["providers"] for line in lines] == ["one, two", "two"] and "other" not in asked


def test_conflict(rig: FakeApiRig) -> None:
    """Another controller adds a taint between our read and write → the node is read again, and that taint stays."""
    make_node(rig, TAINT)
    register(rig, DRIVER)
    changes = iter([[TAINT, OTHER]])

    def overtake(admission: Any) -> None:
        if taints := next(changes, None):
            rig.api.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": taints}})
            raise ApiError(409, "changed")

    rig.server.admit("nodes", overtake)
    run(rig.kubeconfig(), remove)
    assert spec(rig) == {"taints": [OTHER]}


@pytest.mark.parametrize(("status", "sentence"), [(403, "get and patch nodes"), (422, "cannot be removed yet")])
def test_rejected(rig: FakeApiRig, caplog: pytest.LogCaptureFixture, status: int, sentence: str) -> None:
    """The write is rejected three times → one log line; the taint is removed when the write succeeds."""
    make_node(rig, TAINT)
    register(rig, DRIVER)
    rule = rig.server.on("PATCH", "nodes", Answer(status), times=3)
    with caplog.at_level(logging.WARNING):
        run(rig.kubeconfig(), remove)
    assert rule.hits == 3 and spec(rig) == {}
    assert [sentence in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("then", ["not registered", "conflict"])
def test_pauses_after_a_denial(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """The first look is forbidden, later ones are not, and kubelet registers the driver, or another controller changes
    the node → only the denial is followed by the long pause."""
    monkeypatch.setattr(taint, "FORBIDDEN_PAUSE", 60.0)
    make_node(rig, TAINT)
    rig.server.on("GET", "csinodes", Answer(403), times=1)
    if then == "conflict":
        register(rig, DRIVER)
        rig.server.on("PATCH", "nodes", Answer(409), times=3)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if then != "conflict" and len(pauses) == 4:
            register(rig, DRIVER)

    monkeypatch.setattr(taint, "asyncio", SimpleNamespace(sleep=pause, gather=asyncio.gather))
    run(rig.kubeconfig(), remove)
    assert len(pauses) == 4 and pauses[0] >= 30 and max(pauses[1:]) <= taint.LAST_PAUSE
