"""What the API server knows: CRDs, CSIDriver, the driver on each node, its rights, the clocks."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from cli.cluster import Object, items
from cli.doctor.checks import Check, State, check
from cli.explain.evidence import CORE, DRIVER_PODS, STORAGE, pod_state
from cli.validate.users import DRIVER
from driver.cluster.api import Api
from driver.objects import GROUP
from runtime.errors import NotFound, PermissionDenied

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
# A field of each CRD that the Go driver's CRDs do not have.
_NEW_FIELDS = {"secretproviderclasses": ("spec", "files"), "secretproviderclasspodstatuses": ("status", "lastFailure")}
_CLOCK_SECONDS = 5.0
# What the driver always needs: helm/templates/rbac.yaml.
_RIGHTS = (
    ("get", GROUP, "secretproviderclasses"),
    ("list", GROUP, "secretproviderclasses"),
    ("watch", GROUP, "secretproviderclasses"),
    ("create", GROUP, "secretproviderclasspodstatuses"),
    ("list", GROUP, "secretproviderclasspodstatuses"),
    ("patch", GROUP, "secretproviderclasspodstatuses"),
    ("create", "", "events"),
    ("patch", "", "events"),
)
_SHOWN = 5


async def examine(api: Api) -> list[Check]:
    """All checks. Fails like ``Api.call`` only if there is no API server."""
    try:
        version = await api.call("GET", "/version")
    except PermissionDenied as failure:
        return [Check("API server", State.PROBLEM, str(failure))]
    first = Check("API server", State.OK, f"version {version.get('gitVersion', 'unknown')}")
    clock = api.server_time() - time.time()
    late = f"this machine's clock differs by {abs(clock):.0f} s from the API server's: set it"
    fine = f"within {_CLOCK_SECONDS:.0f} s of the API server's"
    clocks = check("clock", late if abs(clock) > _CLOCK_SECONDS else "", fine)
    jobs = {
        "CRD secretproviderclasses": lambda: _crd(api, "secretproviderclasses"),
        "CRD secretproviderclasspodstatuses": lambda: _crd(api, "secretproviderclasspodstatuses"),
        "CSIDriver": lambda: _csi_driver(api),
        "driver": lambda: _drivers(api),
        "registration": lambda: _registrations(api),
        "rights": lambda: _rights(api),
    }
    return [first, clocks, *await asyncio.gather(*(_known(what, job) for what, job in jobs.items()))]


async def _known(what: str, job: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await job()
    except PermissionDenied as failure:
        return Check(what, State.UNKNOWN, str(failure))


async def _crd(api: Api, plural: str) -> Check:
    what = f"CRD {plural}"
    install = "kubectl apply --server-side -f the chart's directory crds/"
    try:
        crd = await api.call("GET", f"{_CRDS}/{plural}.{GROUP}")
    except NotFound:
        return Check(what, State.PROBLEM, f"it is not installed: {install}")
    version: Object = next((item for item in crd["spec"].get("versions") or () if item.get("name") == "v1"), {})
    if not version.get("served"):
        return Check(what, State.PROBLEM, f"version v1 is not served: {install}")
    part, name = _NEW_FIELDS[plural]
    schema = version.get("schema", {}).get("openAPIV3Schema", {}).get("properties", {})
    old = f"it has no {part}.{name}, so it is of the Go driver or an older release: {install}"
    return check(what, "" if name in schema.get(part, {}).get("properties", {}) else old, "of this release")


async def _csi_driver(api: Api) -> Check:
    try:
        spec = (await api.call("GET", f"{STORAGE}/csidrivers/{DRIVER}")).get("spec") or {}
    except NotFound:
        return Check("CSIDriver", State.PROBLEM, f"there is no CSIDriver {DRIVER}: install the chart")
    problem = "" if spec.get("podInfoOnMount") else "podInfoOnMount is not true: install the CSIDriver of the chart"
    return check("CSIDriver", problem, f"rotation is {'on' if spec.get('requiresRepublish') else 'off'}")


async def _drivers(api: Api) -> Check:
    pods = await items(api, f"{CORE}/pods", {"labelSelector": DRIVER_PODS})
    if not pods:
        return Check("driver", State.PROBLEM, "no pod of it runs: install the chart, or look at its DaemonSet")
    states = {item["metadata"]["name"]: pod_state(item) for item in pods}
    failing = [f"{name}: {state}" for name, state in states.items() if state != "ready"]
    images = {box["image"] for pod in pods for box in pod["spec"].get("containers") or () if "image" in box}
    mixed = f"; {len(images)} different images, as during a roll-out" if len(images) > 1 else ""
    shown = "; ".join(failing[:_SHOWN]) + (" …" if len(failing) > _SHOWN else "")
    return check("driver", shown and f"{shown}: look at its log", f"{len(pods)} pods ready{mixed}")


async def _registrations(api: Api) -> Check:
    pods, nodes = await asyncio.gather(
        items(api, f"{CORE}/pods", {"labelSelector": DRIVER_PODS}), items(api, f"{STORAGE}/csinodes")
    )
    wanted = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
    registered = {
        node["metadata"]["name"]
        for node in nodes
        if DRIVER in [item.get("name") for item in (node.get("spec") or {}).get("drivers") or ()]
    }
    missing = sorted(wanted - registered)
    problem = f"kubelet has not registered the driver on {', '.join(missing[:_SHOWN])}: look at /readyz of its pod"
    return check("registration", problem if missing else "", f"on {len(registered)} nodes")


async def _rights(api: Api) -> Check:
    """Of the account of the driver's pods, by asking the API server, which needs a right of its own."""
    pods = await items(api, f"{CORE}/pods", {"labelSelector": DRIVER_PODS})
    if not pods:
        return Check("rights", State.UNKNOWN, "there is no pod of the driver")
    namespace, name = pods[0]["metadata"]["namespace"], pods[0]["spec"].get("serviceAccountName", "default")
    account = f"system:serviceaccount:{namespace}:{name}"
    answers = await asyncio.gather(*(_may(api, account, *right) for right in _RIGHTS))
    missing = [f"{verb} {resource}" for (verb, _, resource), may in zip(_RIGHTS, answers, strict=True) if not may]
    problem = f"{account} may not {', '.join(missing)}: install the chart's roles (rbac.install)"
    return check("rights", problem if missing else "", f"{account} has what the driver always needs")


async def _may(api: Api, user: str, verb: str, group: str, resource: str) -> bool:
    spec = {"user": user, "resourceAttributes": {"verb": verb, "group": group, "resource": resource}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}}
    return bool(((await api.call("POST", _REVIEWS, body={**kind, "spec": spec})).get("status") or {}).get("allowed"))
