"""``make bench-cluster`` still runs: two nodes of each kind, and the calls that each makes."""

from collections import Counter

import pytest

from bench.nodes.result import OURS, TRIO, Result
from bench.nodes.run import Times, measure
from bench.nodes.table import tables

NODES = 2
TIMES = Times(idle=0.5, phase=60.0)
PHASES = 10


def accepted(result: Result, phase: str) -> Counter[str]:
    """The calls of a phase that were not refused, by verb and resource."""
    found = result.phase(phase)
    assert found is not None
    counted = Counter[str]()
    for (verb, resource, status), number in found.calls.items():
        if status < 400:
            counted[f"{verb} {resource}"] += number
    return counted


@pytest.mark.timeout(240)
def test_ours(cluster_programs: None) -> None:
    """Two nodes with this driver → all phases; each node has one watch, lists no Secrets or pods, creates a status for
    each volume, and does nothing while idle."""
    result = measure(OURS, NODES, TIMES)
    assert not result.given_up and len(result.phases) == PHASES
    started, published = accepted(result, "all start"), accepted(result, "publish")
    assert started["watch secretproviderclasses"] == started["list secretproviderclasses"] == NODES
    assert published["create secretproviderclasspodstatuses"] == 3 * NODES
    assert published["create secrets"] == NODES + 1
    assert accepted(result, "idle") == {} and accepted(result, "check of Secrets") == {"get secrets": 2 * NODES}
    assert accepted(result, "shared class changed") == {"get secretproviderclasses": NODES}
    assert accepted(result, "all classes changed") == {"get secretproviderclasses": 2 * NODES}
    assert accepted(result, "one event each") == {"create events": NODES}
    assert result.phases[-1].watches == NODES
    every = {call for phase in result.phases for call in accepted(result, phase.name)}
    assert not every & {f"{verb} {resource}" for verb in ("list", "watch") for resource in ("secrets", "pods")}
    assert "2 nodes, this driver" in tables([result])


@pytest.mark.timeout(240)
def test_trio(cluster_programs: None) -> None:
    """Two nodes with the trio's calls → all phases; each node has four watches, and replaces each Secret and adds its
    owner again at each check."""
    result = measure(TRIO, NODES, TIMES)
    assert not result.given_up and len(result.phases) == PHASES
    published, checked = accepted(result, "publish"), accepted(result, "check of Secrets")
    for resource in ("secretproviderclasses", "secrets", "pods"):
        assert published[f"list {resource}"] == published[f"watch {resource}"] == NODES
    assert published["create secretproviderclasspodstatuses"] == 3 * NODES
    assert published["create secrets"] == NODES + 1
    assert checked["update secrets"] == 3 * NODES and checked["patch secrets"] >= NODES + 1
    assert accepted(result, "shared class changed") == accepted(result, "all classes changed") == {}
    sent = result.phase("all classes changed")
    assert sent is not None and sent.watch_events >= NODES * (NODES + 1)
    assert result.phases[-1].watches == 4 * NODES
