"""The attributes that a provider receives: who overrides whom, and their exact encoding."""

import pytest

from driver.ports import ClassRef, Pod, ProviderClass
from driver.publish import attributes
from driver.publish.request import PublishRequest
from driver.volume.target import Target

TARGET = Target.from_text("/p/pods/u/volumes/kubernetes.io~csi/v/mount", "")
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


def merged(
    *,
    pod: dict[str, str] | None = None,
    parameters: dict[str, str] | None = None,
    identity: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    pod_overrides: bool = False,
) -> attributes.MountAttributes:
    request = PublishRequest(
        TARGET,
        Pod("ns", "pod", "uid"),
        ClassRef("ns", "class"),
        {"secretProviderClass": "class", **(pod or {})},
        {"csi.storage.k8s.io/pod.name": "pod", **(identity or {})},
        secrets or {},
    )
    return attributes.merge(
        request, ProviderClass(ClassRef("ns", "class"), "stub", parameters or {}), pod_overrides=pod_overrides
    )


def test_exact_strings() -> None:
    """Keys are sorted, without spaces, escaped as Go does, in UTF-8; no secrets are null; the permission is decimal."""
    found = merged(parameters={"b": "<&>", "a": "ü"})
    assert found.attributes == (
        '{"a":"ü","b":"\\u003c\\u0026\\u003e","csi.storage.k8s.io/pod.name":"pod","secretProviderClass":"class"}'
    )
    assert found.secrets == "null"
    assert attributes.PERMISSION == "420" == str(0o644)


@pytest.mark.parametrize("pod_overrides, role", [(False, "class's"), (True, "pod's")])
def test_class_overrides_pod(pod_overrides: bool, role: str) -> None:
    """The class's parameters override the pod's attributes, unless the flag restores the Go driver's order."""
    found = merged(pod={"roleName": "pod's"}, parameters={"roleName": "class's"}, pod_overrides=pod_overrides)
    assert f'"roleName":"{role}"' in found.attributes


@pytest.mark.parametrize(
    "key", ["csi.storage.k8s.io/pod.name", "csi.storage.k8s.io/pod.namespace", TOKENS, "csi.storage.k8s.io/new"]
)
@pytest.mark.parametrize("pod_overrides", [False, True])
def test_nobody_can_forge_the_identity(key: str, pod_overrides: bool) -> None:
    """A class parameter with kubelet's prefix is dropped and listed as such, with either order."""
    found = merged(parameters={key: "forged"}, pod_overrides=pod_overrides)
    assert "forged" not in found.attributes
    assert found.dropped == (key,)


def test_class_cannot_rename_itself() -> None:
    """A parameter named secretProviderClass does not hide which class the pod uses."""
    assert '"secretProviderClass":"class"' in merged(parameters={"secretProviderClass": "other"}).attributes


@pytest.mark.parametrize(
    "identity, secrets, token",
    [
        ({TOKENS: "from-context"}, {}, "from-context"),
        ({}, {TOKENS: "from-secrets"}, "from-secrets"),
        ({TOKENS: "from-context"}, {TOKENS: "from-secrets"}, "from-secrets"),
        ({TOKENS: "from-context"}, {TOKENS: ""}, ""),
        ({}, {}, ""),
    ],
)
def test_tokens(identity: dict[str, str], secrets: dict[str, str], token: str | None) -> None:
    """The token is taken from the secrets field if the key is there, even if it is empty, else from the volume context;
    an empty one is omitted."""
    found = merged(identity=identity, secrets=secrets).attributes
    assert (f'"{TOKENS}":"{token}"' in found) if token else (TOKENS not in found)


def test_repr_hides_secrets() -> None:
    """The repr contains neither attributes nor secrets."""
    shown = repr(merged(parameters={"key": "hidden-1"}, secrets={"key": "hidden-2"}))
    assert "hidden" not in shown
