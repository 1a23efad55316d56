"""What authors of classes write: manifests, secretObjects, parameters and annotations."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from driver.manifests import Manifests
from driver.objects.classes import parse_class
from driver.objects.pod_status import build_status, condition_of, parse_status, status_name
from driver.objects.pods import confirms
from driver.objects.volume_details import decode
from driver.ports import INTERVAL_ANNOTATION, ClassRef, Pod, ProviderClass, SecretObject, VolumeRecord
from driver.publish.schedule import interval_of
from driver.sync import secret_entries, wanted
from driver.sync.ledger import Ledger
from runtime.errors import NotFound, PreconditionFailed
from tests.fuzz.effort import fuzzed, tally

CLASS = ClassRef("default", "app")
KEYS = (
    *("apiVersion", "kind", "metadata", "spec", "name", "namespace", "annotations", "labels", "provider"),
    *("parameters", "secretObjects", "secretName", "type", "data", "objectName", "key", "status", "targetPath"),
    *(
        "ownerReferences",
        "uid",
        "objects",
        "id",
        "version",
        "conditions",
        "lastRefresh",
        "lastFailure",
        "count",
        "time",
    ),
    *("classes", "adopted", "fetched", "pod", "class", "volume", "volumes", "csi", "volumeAttributes", "driver"),
    *("secretProviderClass", "secretProviderClassName", "failure", "fingerprint", "podName", "reason", "message"),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["SecretProviderClass", "app", "default", "Pod", "/a/pods/u/volumes/kubernetes.io~csi/v/mount"])
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
json_like = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)
"""Whatever JSON can say, with the names that somebody looks for."""
objects = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": json_like,
        "kind": st.just("SecretProviderClass"),
        "metadata": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("name", "namespace", "annotations", "ownerReferences", "uid"), json_like)
        )
        | json_like,
        "spec": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("provider", "parameters", "secretObjects", "volumes"), json_like)
        )
        | json_like,
        "status": json_like,
        "classes": json_like,
    },
)


@given(objects)
@fuzzed(150)
def test_classes(document: dict[str, Any]) -> None:
    """Any object in the place of a class → a class whose fields have their types, or a ValueError, which is what its
    callers expect."""
    tally("classes")
    try:
        found = parse_class(document)
    except ValueError:
        return
    check_class(found)


def check_class(found: ProviderClass) -> None:
    """All of it has the type that it is declared with: later steps do not look again."""
    assert isinstance(found.class_ref.name, str) and isinstance(found.class_ref.namespace, str)
    assert isinstance(found.provider, str)
    for mapping in (found.parameters, found.annotations):
        assert all(isinstance(text, str) for pair in mapping.items() for text in pair)
    for item in found.secret_objects:
        assert isinstance(item.secret_name, str) and isinstance(item.type, str)
        assert all(isinstance(text, str) for pair in item.data for text in pair)
        for mapping in (item.labels, item.annotations):
            assert all(isinstance(text, str) for pair in mapping.items() for text in pair)


def status(**fields: Any) -> dict[str, Any]:
    """A pod status in which one thing is odd."""
    target = "/a/pods/u/volumes/kubernetes.io~csi/v/mount"
    metadata = {"namespace": "default", "ownerReferences": [{"kind": "Pod", "name": "p", "uid": "u"}]}
    return {"metadata": metadata, "status": {"targetPath": target, **fields}}


@given(json_like | objects | st.dictionaries(st.sampled_from(KEYS), json_like, max_size=5).map(lambda d: status(**d)))
@example(document=status(lastFailure={"count": float("inf")}))
@example(document=status(lastFailure={"count": 10**400, "time": 10**400}))
@example(document=status(lastRefresh="9999-12-31T23:59:59-23:59", lastFailure={"time": "0001-01-01T00:00:00Z"}))
@example(document={"classes": {"one": {"fetched": 10**400}}})
@fuzzed(150)
def test_objects_of_others(document: Any) -> None:
    """Any JSON where a pod status, a pod, a ledger or a record is expected → what it says, or nothing; never an
    exception."""
    tally("objects of others")
    record = parse_status(document)
    if record is not None:
        build_status(record, status_name(record), "node", condition_of(document))
    details = decode(document) if isinstance(document, dict) else None
    if details is not None:
        assert decode(details.encode()) is not None
    example = VolumeRecord(Pod("default", "p", "u"), CLASS, "v", "/t", {}, None)
    if isinstance(document, dict):
        assert not confirms(document, example, "driver") or document["metadata"]["uid"] == "u"
    ledger = Ledger.parse(json.dumps(document), 0.0)
    assert ledger is None or Ledger.parse(ledger.text(), 0.0) is not None


lines = st.lists(
    st.sampled_from(
        [
            "kind: SecretProviderClass", "apiVersion: secrets-store.csi.x-k8s.io/v1", "metadata:", "  name: app",
            "  namespace: default", "  annotations: {}", "spec:", "  provider: stub", "  parameters:", "    a: b",
            "    a: 1", "    objects: |", "      array:", "---", "...", "- a", "? a", ": b", "x: &b {<<: *b}",
            "&a [*a]", "a: !!python/object:os.system x", "b: !!binary aGVsbG8=", "c: 2001-01-01", "d: .nan", "e: 0x1F",
            "\t", "'",
            '"', "{", "[", "%YAML 1.1", "<<: [a]", "!!set {a}", "!!omap [a: b]", "~: ~", "? [a, b]", "!!timestamp x",
            "!!int x", "!!float y", "!!bool z", "2001-13-45", "d: 9999-99-99T99:99:99Z", "\ufeff", "\x85", "\u2028",
        ]
    )
    | st.text(max_size=12),
    max_size=14,
)  # fmt: skip  # one line for each would hide the list


@pytest.fixture(scope="module")
def manifests() -> Any:
    """A directory, which each example fills anew."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@given(
    st.one_of(
        lines.map(lambda each: "\n".join(each).encode(errors="surrogatepass")),
        st.binary(max_size=60),
        objects.map(lambda document: yaml.safe_dump(document).encode()),
    )
)
@fuzzed(150)
def test_manifests(manifests: Path, content: bytes) -> None:
    """Any file among the manifests → the class, NotFound, or PreconditionFailed with a sentence that names it."""
    tally("manifests")
    (manifests / "a.yaml").write_bytes(content)
    try:
        found = asyncio.run(Manifests(str(manifests)).get_class(CLASS))
    except NotFound:
        return
    except PreconditionFailed as failure:
        assert str(manifests) in str(failure)
        return
    check_class(found)


texts = st.text(max_size=12) | st.sampled_from(
    ["", " ", "app", "a.b", "tls.crt", "kubernetes.io/tls", "Opaque", "../x"]
)
entries = st.builds(
    SecretObject,
    secret_name=texts,
    type=texts,
    data=st.lists(st.tuples(texts | st.sampled_from(["f", "d/g"]), texts), max_size=4).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=2),
    annotations=st.dictionaries(texts, texts, max_size=2),
)


@pytest.fixture(scope="module")
def volume() -> Any:
    """Two files, as in a volume."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "f").write_bytes(b"canary-one")
        (Path(directory) / "d").mkdir()
        (Path(directory) / "d" / "g").write_bytes(b"canary-two")
        yield directory


@given(entries)
@fuzzed(150)
def test_secret_objects(volume: str, entry: SecretObject) -> None:
    """Any entry of secretObjects → a Secret of exactly the files it names, or PreconditionFailed without anything of a
    file."""
    tally("entries of secretObjects")
    try:
        secret = wanted.build(CLASS, entry, volume, 1000, 0.0)
    except PreconditionFailed as failure:
        assert "canary" not in str(failure)
        return
    contents = {"f": b"canary-one", "d/g": b"canary-two"}
    assert secret.data == {key.strip(): contents[name.strip()] for name, key in entry.data} != {}
    assert secret.type not in secret_entries.REFUSED_TYPES


durations = st.lists(
    st.builds(
        "{}{}".format, st.integers(0) | st.floats(0.0, 1e9) | st.just("9" * 400), st.sampled_from(["ns", "s", "h"])
    ),
    max_size=3,
).map("".join)


@given(st.text(max_size=12) | durations)
@fuzzed(150)
def test_intervals(text: str) -> None:
    """Any text as the annotation with the rotation interval → seconds that can be counted, or a ValueError with a
    sentence."""
    tally("intervals")
    try:
        interval = interval_of({INTERVAL_ANNOTATION: text}, 120.0)
    except ValueError as error:
        assert "annotation" in str(error)
        return
    assert 1.0 <= interval < 10**12
