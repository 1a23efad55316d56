"""The controller of SecretSyncs: beside the driver (``secretSync.enabled``), and in a chart of its own, which accepts
the values of the official controller's chart."""

from typing import Any

import pytest
import yaml

from driver.secretsync.config import GO_ONLY, LEASE, SyncConfig
from driver.secretsync.main import PROGRAM
from runtime.flags import FlagSet
from tests.helm import chart, sync_schema

Object = dict[str, Any]
OFFICIAL = f"--values={chart.VALUES}/official-sync.yaml"
ENABLED = "--set=secretSync.enabled=true"
NAME = "secrets-store-sync-controller-manager"
PREFIX = "secrets-store-sync-controller-"
POLICIES = (
    "create-update-policy",
    "create-update-token-deny-policy",
    "delete-policy",
    "update-check-oldobject-policy",
    "update-label-policy",
    "validate-token-policy",
    "validate-annotation-policy",
    "validate-label-policy",
    "events-policy",  # ours
)
# What limits the pod, whatever else the values say.
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def own(*arguments: str) -> list[Object]:
    """The objects of the chart of its own."""
    done = chart.template(*arguments, path=chart.SYNC_CHART)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def beside(*arguments: str) -> list[Object]:
    """The objects that the driver's chart renders beside its own."""
    return chart.render(ENABLED, "--show-only=templates/secret-sync.yaml", *arguments)


def one(found: list[Object], kind: str, name: str = "") -> Object:
    """The only object of a kind, or of a name."""
    (item,) = (item for item in found if item["kind"] == kind and item["metadata"]["name"].endswith(name))
    return item


def pod(found: list[Object]) -> Object:
    """The Deployment's pod template."""
    template: Object = one(found, "Deployment")["spec"]["template"]
    return template


def manager(found: list[Object]) -> Object:
    """The controller's container."""
    container: Object = pod(found)["spec"]["containers"][0]
    return container


def parsed(found: list[Object]) -> SyncConfig:
    """The configuration that the program makes of its arguments."""
    arguments = [*manager(found)["args"], "--leader-election-namespace=kube-system"]
    return SyncConfig(**FlagSet(PROGRAM).add(SyncConfig).ignore(GO_ONLY).parse(arguments).values[SyncConfig])


def without_labels(found: list[Object]) -> list[Object]:
    """The objects without what the chart's name decides."""
    return [{**item, "metadata": {**item["metadata"], "labels": None}} for item in found]


def test_names() -> None:
    """Enabled → every object of the official chart under its name; by default none of them."""
    expected = {
        ("Deployment", NAME),
        ("ServiceAccount", NAME),
        ("ClusterRole", f"{NAME}-role"),
        ("ClusterRoleBinding", f"{NAME}-rolebinding"),
        ("Role", f"{PREFIX}leader-election-role"),
        ("RoleBinding", f"{PREFIX}leader-election-rolebinding"),
        ("CustomResourceDefinition", "secretsyncs.secret-sync.x-k8s.io"),
        *(("ValidatingAdmissionPolicy", PREFIX + name) for name in POLICIES),
        *(("ValidatingAdmissionPolicyBinding", f"{PREFIX}{name}-binding") for name in POLICIES),
    }
    found = beside()
    assert {(item["kind"], item["metadata"]["name"]) for item in found} == expected
    assert set(chart.names(ENABLED)) - set(chart.names()) == expected
    crd = one(found, "CustomResourceDefinition")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    lease = next(rule for rule in one(found, "Role")["rules"] if "resourceNames" in rule)
    assert lease["resourceNames"] == [LEASE]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": "kube-system"}
    assert one(found, "RoleBinding")["subjects"] == one(found, "ClusterRoleBinding")["subjects"] == [account]


def test_no_secret_is_read() -> None:
    """The roles → Secrets may be created and patched, and listed and watched only if that is asked for; no right has a
    wildcard."""
    for settings, expected in (
        ((), "create patch"),
        (("--set=secretSync.watchSecrets=true",), "create patch list watch"),
    ):
        rules = [rule for item in beside(*settings) for rule in item.get("rules") or ()]
        verbs = {" ".join(rule["verbs"]) for rule in rules if "secrets" in rule["resources"]}
        assert verbs == {expected} and "*" not in str(rules)


def test_both_charts_render_the_same() -> None:
    """No values → the chart of its own has the objects that the driver's chart has, except labels and the directory of
    the node's providers."""
    ours, theirs = without_labels(beside()), without_labels(own())
    for found in (ours, theirs):
        pod(found)["spec"]["volumes"][0].pop("hostPath")
    assert ours == theirs


def test_a_values_file_of_the_official_chart() -> None:
    """It is used unchanged → each of its values has its effect, except the image, which would lack the program, and a
    key that is not known; notes say so."""
    found = own(OFFICIAL)
    config, template, container = parsed(found), pod(found), manager(found)
    assert config.token_request_audience == ("vault",) and config.v == 5
    assert config.metrics_bind_address == ":8090" and config.rotation_poll_interval == 1800.0
    assert container["image"] == "secrets-store-csi:0.1.0" and container["imagePullPolicy"] == "Always"
    assert {"name": "metrics", "containerPort": 8090, "protocol": "TCP"} in container["ports"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "128Mi"}
    assert template["metadata"]["labels"]["team"] == "a" == template["metadata"]["annotations"]["team"]
    assert template["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "a"}
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}] and template["spec"]["affinity"]
    assert [item["name"] for item in template["spec"]["containers"]] == ["manager", "provider", "other"]
    policies = str([item for item in found if item["kind"] == "ValidatingAdmissionPolicy"])
    assert "example.org/license" in policies and "bootstrap.kubernetes.io/token" not in policies


@pytest.mark.parametrize(
    "render, setting",
    [(own, OFFICIAL), (own, "--set=securityContext.capabilities.add={KILL}"), (beside, "--set=secretSync.replicas=2")],
)
def test_unprivileged(render: Any, setting: str) -> None:
    """Whatever the values leave out → no capability, no privilege escalation, not root, a read-only root file system,
    and the run time's seccomp profile; the pod's user is not root."""
    found = render(setting)
    context = manager(found)["securityContext"]
    context["capabilities"].pop("add", None)
    assert context == UNPRIVILEGED
    assert pod(found)["spec"]["securityContext"]["runAsUser"] == 65532
    assert "hostNetwork" not in pod(found)["spec"] and "privileged" not in str(found)


def test_nothing_of_the_node() -> None:
    """Providers run beside the controller → the directory of sockets is an emptyDir, which each of them has once; it is
    the node's if there are none, or if a directory is named."""

    def providervol(found: list[Object]) -> Object:
        volume: Object = pod(found)["spec"]["volumes"][0]
        return volume

    found = own(OFFICIAL)
    assert "hostPath" not in str(pod(found)) and providervol(found) == {"name": "providervol", "emptyDir": {}}
    mounts = [[item["mountPath"] for item in each["volumeMounts"]] for each in pod(found)["spec"]["containers"]]
    assert mounts == [["/provider", "/tmp"], ["/provider"], ["/provider"]]
    assert providervol(own())["hostPath"]["path"] == "/var/run/secrets-store-sync-providers"
    assert providervol(beside())["hostPath"]["path"] == "/var/run/secrets-store-csi-providers"
    assert providervol(own(OFFICIAL, "--set=providersDir=/run/p"))["hostPath"]["path"] == "/run/p"


def test_the_pod_is_found_by_fixed_labels() -> None:
    """The user's labels differ → those by which the Deployment finds its pods stay; the driver's selectors do not find
    them."""
    found = beside("--set=secretSync.podLabels.app=x,networkPolicy.enabled=true")
    labels, selector = pod(found)["metadata"]["labels"], one(found, "Deployment")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items() and labels["app"] == "secrets-store-sync-controller"
    assert labels["secrets-store.io/system"] == "true"


@pytest.mark.parametrize(
    "settings, image",
    [
        ([], "secrets-store-csi:0.1.0"),
        (["linux.image.repository=a.example/b", "linux.image.tag=1.0.0"], "a.example/b:1.0.0"),
        (["secretSync.image.repository=a.example/c", "secretSync.image.tag=2.0.0"], "a.example/c:2.0.0"),
        (["secretSync.image.repository=a.example/c"], "a.example/c:0.1.0"),
        (["secretSync.image.repository=m.example/secrets-store-sync/controller"], "secrets-store-csi:0.1.0"),
    ],
)
def test_image(settings: list[str], image: str) -> None:
    """The image is the driver's, unless another one is named; the official controller's is none."""
    assert manager(beside(*(f"--set={item}" for item in settings)))["image"] == image


def test_arguments() -> None:
    """The program accepts its arguments; what the values do not say is its own default, except that it waits for the
    Lease."""
    config = parsed(beside())
    expected = SyncConfig(leader_elect=True, leader_election_namespace="kube-system")
    assert config == expected
    more = parsed(beside("--set=secretSync.logFormatJSON=true,secretSync.extraArgs={--controller-name=a}"))
    assert more.log_format_json and more.controller_name == "a"
    assert parsed(beside("--set=secretSync.rotationPollInterval=0")).rotation_poll_interval == 0.0


def test_without_policies() -> None:
    """They are turned off, or the cluster does not have them → none is rendered."""
    assert "ValidatingAdmission" not in str(beside("--set=secretSync.validatingAdmissionPolicies.applyPolicies=false"))
    assert "CustomResourceDefinition" not in str(beside("--set=secretSync.crds.enabled=false"))


def test_the_two_messages() -> None:
    """The messages that the official tests compare are there word by word; the real API server shows them in
    tests/cluster/secret_sync."""
    parts = {"request.operation": "CREATE", "object.?type.orValue('Opaque')": "TYPE", "request.namespace": "NS"}
    messages = {}
    for name in POLICIES[:2]:
        (text,) = (
            item["spec"]["validations"][0]["messageExpression"]
            for item in beside()
            if item["kind"] == "ValidatingAdmissionPolicy" and item["metadata"]["name"] == PREFIX + name
        )
        for expression, value in parts.items():
            text = text.replace(f"' + {expression} + '", value)
        messages[name] = text.replace("' + '", "").strip("'")
    begin = "secrets-store-sync-controller has failed to CREATE secret with TYPE type in the NS namespace. "
    assert list(messages.values()) == [
        f"{begin}The controller can only create or update secrets in the allowed types list with a single secretsync "
        "owner.",
        f"{begin}The controller is not allowed to create or update secrets with this type.",
    ]


@pytest.mark.parametrize(
    "setting, expected",
    [
        ("secretSync.enabled=maybe", "want boolean"),
        ("secretSync.replica=2", "'replica' not allowed"),
        ("secretSync.replicas=-1", "minimum"),
        ("secretSync.metricsPort=8081", "the port of the health endpoint"),
        ("secretSync.metricsPort=99999", "maximum"),
        ("secretSync.rotationPollInterval=12", "a duration such as 30s, 2m or 12h"),
        ("secretSync.rotationPollInterval=-1h", "a duration such as 30s, 2m or 12h"),
        ("secretSync.providersDir=providers", "an absolute path"),
        ("secretSync.tokenRequestAudience[0]=vault", "want null or object"),
        ("secretSync.tokenRequestAudience[0].audiences=vault", "'audiences' not allowed"),
        ("secretSync.providerContainer[0].image=x", "missing property 'name'"),
        ("secretSync.validatingAdmissionPolicies.allowedSecretTypes[0]=a'b", "does not match pattern"),
        ("secretSync.extraArgs[0]=v", "does not match pattern"),
        ("secretSync.resources.limit.cpu=1", "'limit' not allowed"),
    ],
)
def test_wrong_values(setting: str, expected: str) -> None:
    """A wrong value → the render fails, names the key and says what is allowed."""
    key = setting.split(".")[1].partition("=")[0].partition("[")[0]
    done = chart.template("--set=secretSync.enabled=true", f"--set={setting}")
    assert done.returncode != 0 and expected in done.stderr, done.stderr
    assert f"secretSync.{key}" in done.stderr or f"/secretSync/{key}" in done.stderr or f"'{key}'" in done.stderr


def test_nulls() -> None:
    """Every value is set to null, as people do to take a default back → the same objects as without values."""
    values = yaml.safe_load((chart.SYNC_CHART / "values.yaml").read_text())
    assert len(values) > 15
    assert own(*(f"--set={key}=null" for key in values if key not in ("image", "resources"))) == own()
    assert own("--set=image=null,resources=null")


def test_the_two_charts_have_the_same_values() -> None:
    """values.yaml, schema and the defaults in the templates agree."""
    drivers = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    below = drivers["secretSync"]
    values = yaml.safe_load((chart.SYNC_CHART / "values.yaml").read_text())
    for key in ("image", *sync_schema.SHARED):
        shared = values.pop(key)
        assert key == "image" or isinstance(shared, list) or shared.items() <= drivers[key].items()
    assert values == {key: value for key, value in below.items() if key not in ("enabled", "image")}
    assert (chart.SYNC_CHART / "values.schema.json").read_text() == sync_schema.text()
    text = (chart.CHART / "templates" / "_secret-sync.tpl").read_text()
    needed = yaml.safe_load(text.partition('define "secretSync.defaults" -}}')[2].partition("{{- end")[0])
    assert needed.items() <= values.items()
    text = (chart.SYNC_CHART / "templates" / "_parts.tpl").read_text()
    own_defaults = yaml.safe_load(text.partition('define "sync.defaults" -}}')[2].partition("{{- end")[0])
    for key, part in own_defaults.items():
        assert part.items() <= drivers[key].items()


def test_lint() -> None:
    """``helm lint`` → no warning; the schema's keys are those that the notes know."""
    done = chart.run("lint", str(chart.SYNC_CHART), f"--kube-version={chart.KUBE_VERSION}")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout
    known = (chart.SYNC_CHART / "templates" / "NOTES.txt").read_text().partition("-}}")[0]
    assert {f'"{key}"' for key in sync_schema.schema()["properties"]} <= set(known.split())
