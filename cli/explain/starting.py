"""Why a pod does not start, in the order in which it would: it is scheduled, and its volumes are mounted."""

from collections.abc import Iterator

from cli.cluster import Object
from cli.explain.answers import Answer, pod, started
from cli.explain.evidence import Evidence, ago, pod_state
from cli.explain.messages import cause_of, volume_of
from cli.explain.secrets import missing_secret
from cli.validate import classes as class_checks
from cli.validate.users import CLASS_ATTRIBUTE, DRIVER
from driver.config import DriverConfig
from driver.manifests import schema
from driver.manifests.schema import did_you_mean
from runtime.timestamps import parse_timestamp

_NOT_REGISTERED = "not found in the list of registered CSI drivers"
_TAINT = DriverConfig.__dataclass_fields__["startup_taint"].default


def _absent(found: Evidence) -> Iterator[Answer]:
    if not found.pod:
        hint = did_you_mean(found.name, found.pods)
        yield Answer(f"There is no pod {found.name} in namespace {found.namespace}{hint or '.'}")


def _ending(found: Evidence) -> Iterator[Answer]:
    phase = (found.pod.get("status") or {}).get("phase")
    if found.pod["metadata"].get("deletionTimestamp"):
        yield Answer(f"Pod {pod(found)} is being deleted.", problem=False)
    elif phase in ("Succeeded", "Failed"):
        yield Answer(f"Pod {pod(found)} has ended ({phase}), and its volumes with it.", problem=False)


def _foreign(found: Evidence) -> Iterator[Answer]:
    if not found.volumes:
        yield Answer(
            f"Pod {pod(found)} has no volume of {DRIVER}.",
            f"If it should have one, add to spec.volumes: csi: {{driver: {DRIVER}, readOnly: true, volumeAttributes: "
            f"{{{CLASS_ATTRIBUTE}: NAME}}}}.",
            problem=False,
        )


def _unscheduled(found: Evidence) -> Iterator[Answer]:
    if found.node_name:
        return
    conditions = {item.get("type"): item for item in (found.pod.get("status") or {}).get("conditions") or ()}
    message = (conditions.get("PodScheduled") or {}).get("message") or "the scheduler has not said why"
    if str(_TAINT) in message:
        sentence = f"Pod {pod(found)} waits for a node on which the driver is ready: {message}"
        yield Answer(sentence, f"The taint {_TAINT} is removed by the driver: look at its pods on the new nodes.")
    else:
        sentence = f"Pod {pod(found)} has no node yet, so its volumes are not mounted: {message}"
        yield Answer(sentence, "This is the scheduler's, not the driver's.")


def _crd(found: Evidence) -> Iterator[Answer]:
    if found.crd_missing:
        yield Answer(f"Pod {pod(found)} cannot start, because {found.crd_missing}")


def _volume(found: Evidence) -> Iterator[Answer]:
    for item in found.volumes if not started(found) else ():
        attributes = item["csi"].get("volumeAttributes") or {}
        if not attributes.get(CLASS_ATTRIBUTE):
            hint = next((hint for name in attributes if (hint := did_you_mean(name, [CLASS_ATTRIBUTE]))), "")
            yield Answer(
                f"Pod {pod(found)} cannot start, because volume {item['name']} names no class{hint}",
                f"Set volumeAttributes.{CLASS_ATTRIBUTE} in the pod's template.",
            )
        elif not item["csi"].get("readOnly"):
            yield Answer(
                f"Pod {pod(found)} cannot start, because volume {item['name']} is not read-only.",
                "Set csi.readOnly: true in the pod's template.",
            )


def _class(found: Evidence) -> Iterator[Answer]:
    if started(found):
        return
    for name in (name for name, item in found.classes.items() if item is None):
        start = f"Pod {pod(found)} cannot start, because class {name} does not exist in namespace {found.namespace}"
        places = sorted(
            {item["metadata"]["namespace"] for item in found.all_classes if item["metadata"]["name"] == name}
        )
        near = [
            item["metadata"]["name"] for item in found.all_classes if item["metadata"]["namespace"] == found.namespace
        ]
        if places:
            yield Answer(
                f"{start}: there is one in namespace {', '.join(places)}.",
                "A class must be in the namespace of its pod: create it there, too.",
            )
        yield Answer(f"{start}{did_you_mean(name, near, '.')}", "Create the class, or correct its name in the pod.")


def _node(found: Evidence) -> Iterator[Answer]:
    """The driver on the pod's node. What is not known is no reason."""
    if started(found):
        return
    start, node = f"Pod {pod(found)} cannot start, because", found.node_name
    if found.csi_driver == {}:
        yield Answer(f"{start} the driver is not installed: there is no CSIDriver {DRIVER}.", "Install the chart.")
    ready = [
        item for item in (found.node or {}).get("status", {}).get("conditions") or () if item.get("type") == "Ready"
    ]
    if ready and ready[0].get("status") != "True":
        yield Answer(f"{start} node {node} is not ready: {ready[0].get('message', 'kubelet does not report')}")
    if found.driver_pods == []:
        yield Answer(
            f"{start} there is no pod of the driver on node {node}.",
            "Look at the DaemonSet: its nodeSelector, affinity and tolerations must allow the node.",
        )
    states = [pod_state(item) for item in found.driver_pods or ()]
    if states and "ready" not in states:
        yield Answer(f"{start} the driver on node {node} does not run: {states[0]}", "Look at the log of its pod.")
    registered = [item.get("name") for item in ((found.csi_node or {}).get("spec") or {}).get("drivers") or ()]
    unregistered = found.csi_node is not None and DRIVER not in registered
    if unregistered or any(
        _NOT_REGISTERED in str(event.get("message")) for event in found.events_of("FailedMount")[:1]
    ):
        yield Answer(
            f"{start} the driver is not registered with kubelet on node {node}.",
            "Look at /readyz and the log of the driver's pod; kubelet's root directory must be that of the chart's "
            "value linux.kubeletRootDir.",
        )


def _mount(found: Evidence) -> Iterator[Answer]:
    """Kubelet's last message about a mount, and what it means."""
    if started(found):
        return
    for event in sorted(found.events_of("FailedMount"), key=lambda event: not _of_driver(found, event))[:1]:
        yield from missing_secret(found, str(event.get("message")))
        cause, advice = cause_of(str(event.get("message")), found.volumes)
        mistake = next(_mistakes(found), "")
        advice = f"{mistake} {advice}".strip() if mistake else advice
        yield Answer(f"Pod {pod(found)} cannot start, because {cause}", advice)
    created = parse_timestamp(found.pod["metadata"].get("creationTimestamp")) or found.now
    yield Answer(
        f"Pod {pod(found)} has waited {ago(found.now - created)} for its volumes, and kubelet reports no error.",
        f"Wait for kubelet; if it stays so, look at the log of the driver's pod on node {found.node_name}.",
    )


def _of_driver(found: Evidence, event: Object) -> bool:
    """Whether an event is about a volume of the driver. Another one may wait for a Secret that the driver makes."""
    return volume_of(str(event.get("message"))) in ["", *(item["name"] for item in found.volumes)]


def _mistakes(found: Evidence) -> Iterator[str]:
    """What ``secrets-store validate`` says of the classes."""
    for name, item in found.classes.items():
        problems = schema.check(item) if item else []
        for problem in problems or (class_checks.check(item) if item else ()):
            yield f"Class {name}, {schema.dotted(problem.path)}: {problem.sentence}."


RULES = (_absent, _ending, _foreign, _unscheduled, _crd, _volume, _class, _node, _mount)
