"""Pods that a real kubelet starts, with tokens that it has asked for itself, while the provider is away."""

import time

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION
from tests.cluster.api import Object
from tests.kubelet.rig import KubeletRig

START_SECONDS, FRESH_SECONDS = 5.0, 10.0


def pod_status(rig: KubeletRig, pod: str) -> Object:
    """The status in the pod status of a pod's volume; empty if there is none."""
    path = f"/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasspodstatuses/{pod}-default-outage"
    found: Object = (rig.node.cluster.api.find(path) or {}).get("status", {})
    return found


def test_last_known_good(rig: KubeletRig) -> None:
    """A pod has run and ended, and the provider's pod is deleted → the next pod has its volume within 5 s of its start,
    with the last content, and an event says so; the provider is back → the content is fresh within 10 s. A pod of
    another class does not start meanwhile."""
    rig.put("outage", "before")
    objects = "- objectName: outage\n"
    rig.apply_class("outage", objects=objects, annotations={LAST_KNOWN_GOOD_ANNOTATION: "6h"})
    rig.apply_class("outage-without", objects=objects)
    rig.node.apply(rig.pod_manifest("outage-1", {"secrets": "outage"}))
    rig.wait_running("outage-1")
    rig.delete("outage-1")
    rig.remove_provider()
    rig.put("outage", "after")
    try:
        rig.node.apply(rig.pod_manifest("outage-without", {"secrets": "outage-without"}))
        rig.node.apply(rig.pod_manifest("outage-2", {"secrets": "outage"}))
        began = time.monotonic()
        rig.node.until(lambda: bool(pod_status(rig, "outage-2")), "the volume")
        mounted = time.monotonic() - began
        rig.wait_running("outage-2")
        assert rig.read("outage-2", "secrets/outage") == "before"
        assert pod_status(rig, "outage-2")["lastFailure"]["reason"] == "ServedLastKnownGood"
        rig.node.until(
            lambda: any("ServedLastKnownGood" in event for event in rig.events("outage-2")), "the event on the pod"
        )
        assert not pod_status(rig, "outage-without")
    finally:
        rig.install_provider()
    began = time.monotonic()
    rig.node.until(lambda: rig.read("outage-2", "secrets/outage") == "after", "fresh content")
    fresh = time.monotonic() - began
    print(f"the volume was there after {mounted:.1f} s, and its content fresh after {fresh:.1f} s")
    assert mounted <= START_SECONDS and fresh <= FRESH_SECONDS
    rig.delete("outage-2", "outage-without")
