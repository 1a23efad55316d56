"""What a SecretSync's Secret and status contain."""

from dataclasses import replace

import pytest

from driver.objects.secret_syncs import SecretSync, SyncRef
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
