"""The two policies for everybody, about the labels and annotations of SecretSyncs.

This project's CRD already refuses what they refuse. So they are tested where they are needed: with a CRD that has no
such rules, as one that another release has left.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import build
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.commands import Settings
from tests.cluster.policies import CHART
from tests.cluster.secret_sync import policies
from tests.cluster.secret_sync.policies import refused_by
from tests.cluster.servers import ControlPlane
from tests.support.secret_sync_rig import KEYS, SYNC_GROUP
from tests.support.waiting import wait_until

LABEL, ANNOTATION = "validate-label-policy", "validate-annotation-policy"
LONG_LABEL = (
    "Label keys must not exceed 317 characters (254 for prefix+separator, 63 for name), label values must not exceed "
    "63 characters."
)
LONG_ANNOTATION = (
    "Annotation keys must be shorter than 317 characters, annotation values must not exceed 262144 characters."
)
RESERVED = "{} keys must not begin with secrets-store.sync.x-k8s.io, which is reserved."


def without_rules(schema: Any) -> Any:
    """A schema without its CEL rules, and with nothing required but in the entries of lists, whose keys must be."""
    if isinstance(schema, list):
        return [without_rules(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"x-kubernetes-validations", "required"}
    kept = {key: without_rules(value) for key, value in schema.items() if key not in dropped}
    return {**kept, "items": schema["items"]} if "items" in schema else kept


@pytest.fixture(scope="module")
def api(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A cluster of its own, as the CRD and the policies are of the whole cluster."""
    if build.GROUPS["helm"].missing:
        pytest.skip("no helm: make test-cluster builds it")
    directory: Path = tmp_path_factory.mktemp("lenient")
    crd = yaml.safe_load((CHART / "files" / "secretsyncs.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    version["schema"] = without_rules(version["schema"])
    manifest = directory / "crd.json"
    manifest.write_text(json.dumps(crd))
    with ControlPlane(directory, Settings(manifests=(manifest,))) as cluster:
        before = sync("before", labels={"secrets-store.sync.x-k8s.io/x": ""})
        before["metadata"]["finalizers"] = ["example.org/wait"]
        cluster.api.create(before)
        for item in policies.rendered():
            if item["kind"].startswith("ValidatingAdmissionPolicy"):
                cluster.api.apply(item)
        for refused in (sync(labels={"a": "x" * 64}), sync(annotations={"a" * 317: ""})):
            # The API server learns of a policy with a delay.
            wait_until(partial(refusal, cluster.api, refused), "the policies", 20, pause=0.1)
        yield cluster.api


def sync(name: str = "app", **secret: Any) -> Object:
    """A SecretSync with these fields of its secretObject."""
    return {
        "apiVersion": f"{SYNC_GROUP}/v1alpha1",
        "kind": "SecretSync",
        "metadata": {"namespace": "default", "name": name},
        "spec": {
            "secretProviderClassName": "app",
            "serviceAccountName": "default",
            "secretObject": {"type": "Opaque", "data": KEYS, **secret},
        },
    }


def refusal(api: Api, body: Object) -> str:
    """Create it as a dry run; returns why that was refused, empty if it was not."""
    try:
        api.create(body, dryRun="All")
    except ApiError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("policy", "secret", "message"),
    [
        (LABEL, {"labels": {"a" * 318: "b"}}, LONG_LABEL),
        (LABEL, {"labels": {"a": "x" * 64}}, LONG_LABEL),
        (LABEL, {"labels": {"a": "b", "c": "x" * 64}}, LONG_LABEL),
        (LABEL, {"labels": {"secrets-store.sync.x-k8s.io": ""}}, RESERVED.format("Label")),
        (LABEL, {"labels": {"a": "b", "secrets-store.sync.x-k8s.io/c": "d"}}, RESERVED.format("Label")),
        (ANNOTATION, {"annotations": {"a" * 317: "b"}}, LONG_ANNOTATION),
        (ANNOTATION, {"annotations": {"a": "x" * 262145}}, LONG_ANNOTATION),
        (ANNOTATION, {"annotations": {"secrets-store.sync.x-k8s.io": ""}}, RESERVED.format("Annotation")),
        (ANNOTATION, {"annotations": {"secrets-store.sync.x-k8s.io/a": ""}}, RESERVED.format("Annotation")),
    ],
)
def test_refused(api: Api, policy: str, secret: Object, message: str) -> None:
    """Anybody, also an administrator, creates such a SecretSync → refused, with the whole message; the same in an
    update."""
    reason = f'403 Forbidden: secretsyncs.{SYNC_GROUP} "app" is forbidden: {refused_by(policy)}{message}'
    assert refusal(api, sync(**secret)) == reason
    made = api.create(sync())
    try:
        with pytest.raises(ApiError) as raised:
            api.patch(api.path(made), {"spec": {"secretObject": secret}})
        assert str(raised.value) == reason
    finally:
        api.delete(api.path(made))


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"labels": {"a" * 317: "x" * 63, "secrets-store.x-k8s.io": ""}},
        {"annotations": {"a" * 316: "x" * 262144, "example.com/secrets-store.sync.x-k8s.io": ""}},
    ],
)
def test_not_refused(api: Api, secret: Object) -> None:
    """The longest that is allowed, and keys that only look like the reserved ones → accepted."""
    assert refusal(api, sync(**secret)) == ""


@pytest.mark.parametrize("spec", [None, {}, {"secretObject": {}}])
def test_what_has_nothing_to_check(api: Api, spec: Object | None) -> None:
    """A SecretSync without a specification, which this CRD accepts → the policies do not fail on it: nobody could take
    its finalizers away."""
    body = sync()
    body["spec"] = spec
    assert refusal(api, {key: value for key, value in body.items() if value is not None}) == ""


def test_one_from_before_the_policies(api: Api) -> None:
    """It has a reserved label from before the policies were installed → its specification can be changed only if that
    is corrected, but it can be deleted, and its finalizer taken away."""
    path = api.path(sync("before"))
    with pytest.raises(ApiError, match=LABEL):
        api.patch(path, {"spec": {"forceSynchronization": "1"}}, dryRun="All")
    api.patch(path, {"spec": {"secretObject": {"labels": None}}}, dryRun="All")
    api.delete(path)
    api.patch(path, {"metadata": {"finalizers": None}})
    assert api.find(path) is None
