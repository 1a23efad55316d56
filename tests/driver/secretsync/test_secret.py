"""What a SecretSync's Secret and status contain."""

from dataclasses import replace

import pytest

from driver.objects.secret_syncs import Condition, SecretSync, SyncRef, parse_secret_sync
from driver.ports import ClassRef, ProviderClass
from driver.secretsync.secret import build, sync_hash

SYNC = SecretSync(SyncRef("ns", "app"), "uid", 1, "app", "default", "Opaque", (("pw", "password"),))
CLASS = ProviderClass(ClassRef("ns", "app"), "stub", {}, fingerprint="f")


@pytest.mark.parametrize(
    ("sync", "provider_class", "version"),
    [
        (SYNC, CLASS, "2"),
        (SYNC, replace(CLASS, fingerprint="g"), "1"),
        (replace(SYNC, uid="other"), CLASS, "1"),
        (replace(SYNC, generation=2), CLASS, "1"),
        (replace(SYNC, force="1"), CLASS, "1"),
    ],
    ids=["the Secret", "the class", "another SecretSync", "its specification", "by force"],
)
def test_the_hash(sync: SecretSync, provider_class: ProviderClass, version: str) -> None:
    """The Secret was written, the class, the SecretSync or forceSynchronization changed → another hash. It has a prefix
    of its own, and the content is not part of it: nobody can test a guess of a short password with it."""
    before = sync_hash(SYNC, CLASS, "1")
    assert before.startswith("rv1:") and before == sync_hash(SYNC, CLASS, "1")
    assert sync_hash(sync, provider_class, version) != before


def test_labels_and_annotations() -> None:
    """Those of the SecretSync, and the label by which the Secret is found, which they cannot change."""
    labels = {"team": "a", "secrets-store.sync.x-k8s.io": "mine"}
    made = build(replace(SYNC, labels=labels, annotations={"note": "b"}), {"pw": b"x"})
    assert made["metadata"]["labels"] == {"team": "a", "secrets-store.sync.x-k8s.io": ""}
    assert made["metadata"]["annotations"] == {"note": "b"}
    assert "annotations" not in build(SYNC, {})["metadata"]


def test_what_is_kept_of_a_secret_sync() -> None:
    """Thousands of SecretSyncs are read → texts that they share are in memory once, and conditions are written as they
    were read."""
    condition = {
        "type": "SecretCreated",
        "status": "False",
        "observedGeneration": 3,
        "reason": "ProviderError",
        "message": "fetching secrets from the provider failed: no",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }

    def read(name: str) -> SecretSync:
        spec = {"secretProviderClassName": "".join(["a", "pp"]), "secretObject": {"type": "Opaque"}}
        metadata = {"namespace": "".join(["n", "s"]), "name": name, "uid": f"uid-{name}"}
        status = {
            "conditions": [
                {key: value[:1] + value[1:] if isinstance(value, str) else value for key, value in condition.items()}
            ]
        }
        return parse_secret_sync({"metadata": metadata, "spec": spec, "status": status})

    one, two = read("one"), read("two")
    assert one.class_name is two.class_name and one.ref.namespace is two.ref.namespace
    assert one.labels is two.labels and one.conditions[0].message is two.conditions[0].message
    assert not hasattr(one, "__dict__") and not hasattr(one.conditions[0], "__dict__")
    assert isinstance(one.conditions[0], Condition) and one.conditions[0].document() == condition
