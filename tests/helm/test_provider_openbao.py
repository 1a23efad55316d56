"""The DaemonSet of the OpenBao provider (``providers.openbao``)."""

from typing import Any

import pytest

from provider_openbao.main import PROGRAM, OpenBaoConfig
from runtime.flags import FlagSet
from tests.helm import chart

ENABLED = "--set=providers.openbao.enabled=true"


def pod(*arguments: str) -> dict[str, Any]:
    """The pod template's spec."""
    (found,) = [
        item
        for item in chart.render(ENABLED, *arguments)
        if item["kind"] == "DaemonSet" and "-provider-" in item["metadata"]["name"]
    ]
    template = found["spec"]["template"]
    assert found["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert len(found["metadata"]["name"]) <= 63
    return dict(template["spec"])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (f"--values={chart.VALUES}/openbao.yaml",),
        ("--set=providers.openbao.name=vault,logVerbosity=5,logFormatJSON=true",),
        ("--set=providers.openbao.address=http://openbao:8200",),
        ("--set=fullnameOverride=a-name-that-is-as-long-as-names-of-objects-in-kubernetes-may-be",),
    ],
)
def test_arguments(arguments: tuple[str, ...]) -> None:
    """Any values → the program accepts its arguments, and serves a socket where the driver looks for it."""
    spec = pod(*arguments)
    (container,) = spec["containers"]
    assert container["command"] == [PROGRAM]
    config = OpenBaoConfig(**FlagSet(PROGRAM).add(OpenBaoConfig).parse(container["args"]).values[OpenBaoConfig])
    (port,) = container["ports"]
    assert config.metrics_addr == f":{port['containerPort']}"
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    directory, _, name = config.endpoint.removeprefix("unix://").rpartition("/")
    assert name in ("openbao.sock", "vault.sock")
    (mount,) = [item for item in container["volumeMounts"] if item["mountPath"] == directory]
    (volume,) = [item for item in spec["volumes"] if item["name"] == mount["name"]]
    assert volume["hostPath"]["path"] == "/var/run/secrets-store-csi-providers"


def test_unprivileged() -> None:
    """It has no privilege, no capability, no token of the API server, and of the node only the directory of sockets."""
    spec = pod()
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not context["privileged"] and not context["allowPrivilegeEscalation"] and context["readOnlyRootFilesystem"]
    assert spec["automountServiceAccountToken"] is False and "serviceAccountName" not in spec
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert [volume for volume in spec["volumes"] if "hostPath" in volume] == spec["volumes"][:1]


@pytest.mark.parametrize("root", ["/var/lib/kubelet", "/var/lib/k0s/kubelet/"])
def test_revoke_on_unpublish(root: str) -> None:
    """revokeOnUnpublish → kubelet's pods at the path that the driver names, read-only; nothing else is added."""
    before = pod()
    spec = pod("--set=providers.openbao.revokeOnUnpublish=true", f"--set=linux.kubeletRootDir={root}")
    path = f"{root.rstrip('/')}/pods"
    ((mount,), (volume,)) = (
        [item for item in after if item not in earlier]
        for after, earlier in (
            (spec["containers"][0]["volumeMounts"], before["containers"][0]["volumeMounts"]),
            (spec["volumes"], before["volumes"]),
        )
    )
    assert mount == {
        "name": volume["name"],
        "mountPath": path,
        "mountPropagation": "HostToContainer",
        "readOnly": True,
    }
    assert volume["hostPath"] == {"path": path, "type": "DirectoryOrCreate"}
    assert spec["containers"][0]["securityContext"] == before["containers"][0]["securityContext"]


def test_off() -> None:
    """Without the value → nothing of it."""
    assert not [item for item in chart.render() if "-provider-" in item["metadata"]["name"]]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("name=Vault", "does not match pattern"),
        ("name=a_name_that_is_too_long", "does not match pattern"),
        ("address=openbao:8200", "does not match pattern"),
        ("metricsPort=0", "minimum"),
        ("revokeOnUnpublish=yes", "want boolean"),
        ("adress=http://x", "'adress' not allowed"),
        ("extraArgs[0]=v", "does not match pattern"),
        ("volumes[0].configMap.name=x", "missing property 'name'"),
    ],
)
def test_wrong_values(setting: str, words: str) -> None:
    """A value that cannot work → the render fails, and names it."""
    done = chart.template(ENABLED, f"--set=providers.openbao.{setting}")
    assert done.returncode != 0
    assert words in done.stderr and "openbao" in done.stderr
