"""``secrets-store explain pod``: twenty situations and more, each with the sentence wanted."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.support.fake_api import Answer, FakeApi, Page

NODE, DRIVER, TIME = "node-1", "secrets-store.csi.k8s.io", "2026-01-31T12:00:00Z"
WAITING: Any = [{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]
RUNNING: Any = [{"name": "main", "state": {"running": {"startedAt": TIME}}}]
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
RPC = 'MountVolume.SetUp failed for volume "secrets" : rpc error: code = FailedPrecondition desc = '
STEP = RPC + "failed to mount secrets store objects for pod default/web, err: "
NOT_REGISTERED = (
    'MountVolume.SetUp failed for volume "secrets" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: '
    f"driver name {DRIVER} not found in the list of registered CSI drivers"
)
Object = dict[str, Any]


def blocked(reason: str, message: str) -> Any:
    """A container that waits for something."""
    return [{"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]


@dataclass
class World:
    """The objects of a healthy cluster with a pod that waits for its volume; each situation changes something. None
    removes an object."""

    pod: Object = field(
        default_factory=lambda: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "nodeName": NODE,
                "containers": [{"name": "main", "image": "x"}],
                "volumes": [
                    {
                        "name": "secrets",
                        "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": "app"}},
                    }
                ],
            },
            "status": {"phase": "Pending", "containerStatuses": WAITING},
        }
    )
    classes: list[Object] = field(default_factory=lambda: [provider_class()])
    csi_driver: Any = field(
        default_factory=lambda: {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": DRIVER},
            "spec": {"requiresRepublish": True},
        }
    )
    csi_node: Any = field(
        default_factory=lambda: {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": NODE},
            "spec": {"drivers": [{"name": DRIVER, "nodeID": NODE, "topologyKeys": None}]},
        }
    )
    node: Object = field(
        default_factory=lambda: {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
    )
    driver: Any = field(
        default_factory=lambda: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "driver-x", "namespace": "kube-system", "labels": {"app": "secrets-store-csi-driver"}},
            "spec": {"nodeName": NODE},
            "status": copy.deepcopy(READY),
        }
    )
    events: list[tuple[str, str]] = field(default_factory=list)
    status: Object | None = None
    forbidden: str = ""

    @property
    def csi(self) -> Object:
        """The csi part of the pod's volume."""
        found: Object = self.pod["spec"]["volumes"][0]["csi"]
        return found

    def runs(self, **status: Any) -> None:
        """The pod's container runs, and the volume has a pod status."""
        self.pod["status"] = {"phase": "Running", "containerStatuses": RUNNING}
        self.status = {
            "podName": "web",
            "secretProviderClassName": "app",
            "mounted": True,
            "lastRefresh": TIME,
            **status,
        }


def provider_class(name: str = "app", namespace: str = "default", **spec: Any) -> Object:
    """A class."""
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": "vault", "parameters": {"objects": "- {objectName: a, secretPath: b}"}, **spec},
    }


SECRET = [{"secretName": "db", "type": "Opaque", "data": [{"objectName": "a", "key": "a"}]}]
MISSING = blocked("CreateContainerConfigError", 'secret "db" not found')
KNOWN_GOOD = {
    "lastFailure": {"reason": "ServedLastKnownGood", "message": "serving content that …", "count": 1, "time": TIME}
}
FAILED = {"lastFailure": {"reason": "X", "message": "permission denied", "count": 3, "time": TIME}}


def situation(*changes: Callable[[World], Any]) -> World:
    """A world with changes."""
    world = World()
    for change in changes:
        change(world)
    return world


def event(reason: str, message: str) -> Callable[[World], Any]:
    """An event on the pod."""
    return lambda it: it.events.append((reason, message))


def mount(message: str) -> Callable[[World], Any]:
    """kubelet's event about the mount."""
    return event("FailedMount", message)


def put(name: str, value: Any) -> Callable[[World], Any]:
    """Another object, or none."""
    return lambda it: setattr(it, name, value)


def containers(status: Any) -> Callable[[World], Any]:
    """Other states of the pod's containers."""
    return lambda it: it.pod["status"].update(containerStatuses=status)


def running(**status: Any) -> Callable[[World], Any]:
    """The pod runs."""
    return lambda it: it.runs(**status)


# Name of a situation → changes, exit code, the sentence's parts.
SITUATIONS: Mapping[str, tuple[list[Callable[[World], Any]], int, str]] = {
    "pod misspelt": ([lambda it: it.pod["metadata"].update(name="webb")],
        1, "no pod web in namespace default: did you mean webb?"),
    "being deleted": (
        [lambda it: it.pod["metadata"].update(finalizers=["a/b"])], 0, "is being deleted",
    ),
    "ended": ([lambda it: it.pod["status"].update(phase="Succeeded")], 0, "has ended (Succeeded)"),
    "no volume": ([lambda it: it.pod["spec"].update(volumes=[])], 0, f"has no volume of {DRIVER}"),
    "not scheduled": (
        [lambda it: it.pod["spec"].pop("nodeName"), lambda it: it.pod["status"].update(
            conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}])],
        1, "has no node yet, so its volumes are not mounted: 0/3 nodes are available",
    ),
    "startup taint": (
        [lambda it: it.pod["spec"].pop("nodeName"), lambda it: it.pod["status"].update(
            conditions=[{"type": "PodScheduled", "message": f"had untolerated taint {{{DRIVER}/agent-not-ready: }}"}])],
        1, "waits for a node on which the driver is ready",
    ),
    "no CRD": ([put("forbidden", "no CRD")],
        1, "the CRD secretproviderclasses.secrets-store.csi.x-k8s.io is not installed"),
    "no class named": ([lambda it: it.csi.update(volumeAttributes={"secretproviderClas": "app"})], 1,
                       "volume secrets names no class: did you mean secretProviderClass?"),
    "not read-only": ([lambda it: it.csi.update(readOnly=False)], 1, "volume secrets is not read-only"),
    "class missing": ([put("classes", [])], 1, "class app does not exist in namespace default."),
    "class misspelt": ([put("classes", [provider_class("apps")])],
        1, "does not exist in namespace default: did you mean apps?"),
    "class elsewhere": ([put("classes", [provider_class("app", "ops")])], 1, "there is one in namespace ops."),
    "driver not installed": ([put("csi_driver", None)],
        1, f"the driver is not installed: there is no CSIDriver {DRIVER}"),
    "node not ready": (
        [lambda it: it.node.update(status={"conditions": [{"type": "Ready", "status": "False", "message": "gone"}]})],
        1, "node node-1 is not ready: gone",
    ),
    "no driver on the node": ([put("driver", None), put("csi_node", None)],
        1, "there is no pod of the driver on node node-1"),
    "driver crashes": (
        [lambda it: it.driver.update(status={"containerStatuses": blocked("CrashLoopBackOff", "back-off 5m0s")})],
        1, "the driver on node node-1 does not run: CrashLoopBackOff: back-off 5m0s",
    ),
    "driver not registered": (
        [lambda it: it.csi_node.update(spec={"drivers": []})], 1, "is not registered with kubelet on node node-1",
    ),
    "kubelet does not know it": ([mount(NOT_REGISTERED)], 1, "is not registered with kubelet on node node-1"),
    "provider not installed": (
        [mount(STEP + 'error connecting to provider "vualt": provider not found: provider "vualt" (on this node there '
                      "are: aws, vault; correct spec.provider of the class)")],
        1, 'provider "vualt" is not installed on the node; installed are: aws, vault',
    ),
    "provider away": (
        [mount(STEP + 'error connecting to provider "vault": /x.sock: connection refused; is its pod running?')],
        1, 'provider "vault" does not answer',
    ),
    "store refuses": ([mount(STEP + "rpc error: code = Unknown desc = 403 permission denied")], 1,
                      "cannot start, because 403 permission denied\n→ Give the pod's service account"),
    "API away from the node": (
        [mount(RPC + "failed to get secretproviderclass default/app: the API server does not answer")], 1,
        "the API server does not answer\n→ Look at the node's network",
    ),
    "class with a mistake": (
        [put("classes", [provider_class(parameters={"objets": "x"})]), mount(STEP + "objects is empty")],
        1, "objects is empty\n→ Class app, spec.parameters.objets: provider vault has no such parameter: did",
    ),
    "composed file": ([mount(STEP + "spec.files[0]: path a is also the name of an object")], 1,
                      "spec.files[0]: path a is also the name of an object\n→ Correct spec.files"),
    "another volume": (
        [mount('MountVolume.SetUp failed for volume "config" : configmap "x" not found')], 1,
        "volume config, which is not the driver's, is not mounted",
    ),
    "no event yet": ([], 1, "kubelet reports no error"),
    "Secret not made": (
        [put("classes", [provider_class(secretObjects=SECRET)]), containers(MISSING),
         event("FailedToCreateSecret", "the driver may not write Secrets in namespace default: Secret db")],
        1, "Secret db could not be made: the driver may not write Secrets",
    ),
    "Secret not made yet": (
        [put("classes", [provider_class(secretObjects=SECRET)]), containers(MISSING)], 1, "Secret db is not made yet",
    ),
    "Secret of nobody": ([containers(MISSING)], 1, "Secret db does not exist, and none of its classes makes it"),
    "key of a Secret": (
        [put("classes", [provider_class(secretObjects=SECRET)]),
         containers(blocked("CreateContainerConfigError", "couldn't find key p in Secret default/db"))],
        1, "because Secret db has no key p",
    ),
    "Secret as a volume": (
        [put("classes", [provider_class(secretObjects=SECRET)]),
         mount('MountVolume.SetUp failed for volume "config" : secret "db" not found')],
        1, "Secret db is not made yet",
    ),
    "Secret as a volume, and the cause": (
        [put("classes", [provider_class(secretObjects=SECRET)]), mount(STEP + "403 permission denied"),
         mount('MountVolume.SetUp failed for volume "config" : secret "db" not found')],
        1, "403 permission denied",
    ),
    "sync fails": ([running(), event("FailedToCreateSecret", "has type A, the class wants B")], 1,
                   "runs, but a Secret of it could not be written: has type A"),
    "image": ([containers(blocked("ImagePullBackOff", "no such image"))], 1,
              "are mounted; a container of it waits for something else: ImagePullBackOff: no such image"),
    "last known good": ([running(**KNOWN_GOOD)], 1, "content that its node had fetched before, as its class allows: s"),
    "old content": ([running(**FAILED)], 1, "because the refresh has failed 3 times: permission"),
    "no pod status": ([running(), put("status", None)], 1, "only 0 of its 1 volume has a pod status"),
    "rotation off": ([running(), lambda it: it.csi_driver.update(spec={})], 0, "because rotation is off"),
    "fine": ([running()], 0, "is fine: 1 volume, refreshed without an error"),
    "fine after a failure": ([running(), mount(STEP + "was away")], 0, "is fine"),
}  # fmt: skip  # a line or two for each situation


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A server."""
    with FakeApi() as server:
        yield server


def build(api: FakeApi, world: World) -> None:
    """Create the objects."""
    made = api.create(world.pod)
    if "finalizers" in world.pod["metadata"]:
        api.delete("/api/v1/namespaces/default/pods/web")
    for item in (*world.classes, world.csi_driver, world.csi_node, world.node, world.driver):
        if item is not None:
            api.create(item)
    uid = made["metadata"]["uid"]
    for number, (reason, message) in enumerate(world.events):
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"web.{number}", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web", "uid": uid},
                "reason": reason,
                "message": message,
                "type": "Warning",
                "count": 2,
                "lastTimestamp": TIME,
            }
        )
    if world.status is not None:
        owners = [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}]
        metadata = {"name": "web-default-app", "namespace": "default", "ownerReferences": owners}
        kind = {"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus"}
        api.create({**kind, "metadata": metadata, "status": world.status})
    if world.forbidden == "no CRD":
        api.on("GET", r"/secretproviderclasses", Page("404 page not found\n", 404))


def explain(api: FakeApi, tmp_path: Path, *options: str) -> Result:
    """Run the command."""
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    return CliRunner().invoke(main, ["explain", "pod", "web", "--kubeconfig", kubeconfig, *options])


@pytest.mark.parametrize("name", SITUATIONS)
def test_situations(name: str, api: FakeApi, tmp_path: Path) -> None:
    """A cluster in this situation → the sentence first, and the exit code."""
    changes, code, sentence = SITUATIONS[name]
    build(api, situation(*changes))
    result = explain(api, tmp_path)
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    first = "\n".join(result.stdout.splitlines()[:2])
    assert sentence in first, result.stdout
    assert result.exit_code == code
    assert {call.verb for call in api.calls.calls()} <= {"get", "list"}


def test_evidence(api: FakeApi, tmp_path: Path) -> None:
    """-o json has the sentence, the advice and the evidence: events, class, pod status, driver."""
    build(api, situation(running(**FAILED), event("SecretRefreshFailed", "permission denied")))
    found = json.loads(explain(api, tmp_path, "-o", "json").stdout)
    assert found["pod"] == "default/web" and found["problem"] is True and found["advice"]
    evidence = "\n".join(found["evidence"])
    assert "event SecretRefreshFailed (2×, " in evidence and "class app: provider vault" in evidence
    assert f"pod status web-default-app: last refresh {TIME}, failed 3 times" in evidence
    assert "driver driver-x on node node-1: ready" in evidence


@pytest.mark.parametrize(
    "path",
    ["/events", "/secretproviderclasses", "podstatuses", "/csidrivers/", "/csinodes/", "/nodes/", "/api/v1/pods"],
)
def test_a_user_who_may_not_read_everything(path: str, api: FakeApi, tmp_path: Path) -> None:
    """Something is forbidden to the user → it is named as unknown, and is never the reason."""
    build(api, situation(running()))
    api.on("GET", path, Answer(403))
    result = explain(api, tmp_path)
    assert "is fine" in result.stdout and result.exit_code == 0
    assert "unknown: " in result.stdout and "403" in result.stdout


def test_a_pod_that_may_not_be_read(api: FakeApi, tmp_path: Path) -> None:
    """The pod itself is forbidden → one sentence, exit code 1, nothing else."""
    api.on("GET", "/pods/web", Answer(403))
    result = explain(api, tmp_path)
    assert result.exit_code == 1 and "Error: the API server answered 403" in result.stderr and not result.stdout


@pytest.mark.parametrize("content", ["", "{", "clusters: []", "[]"])
def test_a_useless_kubeconfig(content: str, tmp_path: Path) -> None:
    """A kubeconfig that is none → a sentence and no stack."""
    path = tmp_path / "config"
    path.write_text(content)
    result = CliRunner().invoke(main, ["explain", "pod", "web", "--kubeconfig", str(path)])
    assert result.exit_code == 1 and result.stderr.startswith("Error: ") and "kubeconfig" in result.stderr
    assert isinstance(result.exception, SystemExit)
