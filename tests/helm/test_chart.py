"""What the chart renders: golden files, the Go chart's object names, refused images, existing flags."""

import re
from typing import Any

import pytest
import yaml

from container.main import flags
from runtime.flags import UsageError
from tests.helm import chart, trio

# PodSecurityPolicy is gone since Kubernetes 1.25.
OF_THE_TRIO = {key for key in trio.OBJECTS if key[0] != "PodSecurityPolicy"}
OURS = {"PodMonitor", "PrometheusRule", "NetworkPolicy", "ConfigMap"}
POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def daemon_set(*arguments: str) -> dict[str, Any]:
    """The Linux DaemonSet."""
    found = [
        item
        for item in chart.render(*arguments)
        if item["kind"] == "DaemonSet" and not re.search("windows|-provider-", item["metadata"]["name"])
    ]
    assert len(found) == 1
    return found[0]


def container(*arguments: str) -> dict[str, Any]:
    """Its one container."""
    (only,) = daemon_set(*arguments)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("name", chart.SETS)
def test_golden(name: str) -> None:
    """A set of values renders as its golden file; after an intended change run ``python -m tests.helm.chart
    --update``."""
    assert chart.golden(name) == (chart.GOLDEN / f"{name}.yaml").read_text()


def test_lint() -> None:
    """``helm lint`` → no warning."""
    done = chart.run("lint", str(chart.CHART), f"--kube-version={chart.KUBE_VERSION}")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


def test_objects_of_the_trio() -> None:
    """With all values → every object of the Go chart under its name, and besides only objects that are off by
    default, and the policies for the driver's account."""
    everything = set(chart.names(f"--values={chart.VALUES}/everything.yaml"))
    assert everything >= OF_THE_TRIO
    assert {kind for kind, _ in everything - OF_THE_TRIO} == OURS | POLICIES
    assert {kind for kind, _ in set(chart.names()) - OF_THE_TRIO} == POLICIES


@pytest.mark.parametrize("name", chart.SETS)
def test_arguments_are_flags(name: str) -> None:
    """The container accepts all arguments of the chart, with their values."""
    given = [
        re.sub(r"\$\((\w+)\)", "unix:///csi/csi.sock", item)
        for item in container(f"--values={chart.VALUES}/{name}.yaml")["args"]
    ]
    try:
        flags().parse(given)
    except UsageError as error:
        pytest.fail(str(error))


def test_one_container() -> None:
    """One container, secrets-store: its resources are the sum of the three's, its root is read-only, /tmp is in
    memory."""
    only = container()
    assert only["name"] == "secrets-store"
    assert only["resources"] == {
        "limits": {"cpu": "400m", "memory": "400Mi"},
        "requests": {"cpu": "70m", "memory": "140Mi"},
    }
    assert only["securityContext"] == {"privileged": True, "readOnlyRootFilesystem": True}
    assert {(mount["mountPath"], mount.get("mountPropagation")) for mount in only["volumeMounts"]} >= {
        ("/var/lib/kubelet/pods", "Bidirectional"),
        ("/tmp", None),
        ("/csi", None),
        ("/registration", None),
    }
    assert [port["containerPort"] for port in only["ports"]] == [9808, 8095]


def test_values_of_the_go_chart() -> None:
    """A values file of the Go chart → its paths, ports, resources and switches keep their meaning."""
    only = container(f"--values={chart.VALUES}/trio.yaml")
    assert only["resources"]["limits"] == {"cpu": "1200m", "memory": "1224Mi"}
    assert [port["containerPort"] for port in only["ports"]] == [9810, 8080]
    assert "--kubelet-pods-dir=/data/kubelet/pods" in only["args"]
    assert "--rotation-poll-interval=120s" in only["args"]
    assert not [arg for arg in only["args"] if arg.startswith(("--sync-secrets", "--adopt-secrets"))]


@pytest.mark.parametrize("adopts", [True, False])
def test_adopting_secrets_of_others(adopts: bool) -> None:
    """``syncSecret.adoptExisting`` → the flag, whether the permissions are granted or not."""
    only = container(f"--set=syncSecret.adoptExisting={str(adopts).lower()}")
    assert ("--adopt-secrets=true" in only["args"]) is adopts


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set=linux.image.repository=registry.k8s.io/csi-secrets-store/driver"],
        ["--set=linux.image.repository=mirror.example/csi-secrets-store/driver,linux.image.digest=sha256:" + "0" * 64],
        ["--set=linux.image.tag=v1.6.0"],
        ["--set=linux.image.repository=mirror.example/sscd,linux.image.tag=v1.4.8"],
    ],
)
def test_image_of_the_go_driver_is_refused(arguments: list[str]) -> None:
    """The Go driver's image is set, which would crash on our flags on every node → the render fails and names the
    key."""
    done = chart.template(*arguments)
    assert done.returncode != 0
    assert "linux.image.repository=" in done.stderr and "docs/migration.md" in done.stderr


@pytest.mark.parametrize("version, in_secrets", [("1.34.2", False), ("1.35.1-gke.1", True), ("1.36.0", True)])
def test_tokens_in_secrets(version: str, in_secrets: bool) -> None:
    """Kubernetes 1.35 or later, also with a vendor's suffix → tokens are requested in the secrets field."""
    done = chart.template("--set=tokenRequests[0].audience=vault", kube_version=version)
    assert ("serviceAccountTokenInSecrets: true" in done.stdout) is in_secrets


def test_tokens_of_the_pods_author() -> None:
    """Without tokenRequests kubelet sends no tokens, so what is in the volume context is the pod author's and is not
    passed on; with them it is kubelet's, whatever the version."""
    flag = "--accept-context-tokens=false"
    assert flag in container()["args"]
    for requests in ('[{"audience":"vault"}]', '[{"audience":""}]'):
        assert flag not in container(f"--set-json=tokenRequests={requests}")["args"]


def test_no_secret_access_unless_asked() -> None:
    """RBAC has no right for Secrets by default, a ClusterRole with syncSecret, and Roles if namespaces are listed."""

    def of_secrets(*arguments: str) -> list[tuple[str, str]]:
        return [
            (item["kind"], item["metadata"].get("namespace", ""))
            for item in chart.render(*arguments)
            if any("secrets" in rule.get("resources", ()) for rule in item.get("rules") or ())
        ]

    assert of_secrets() == []
    assert of_secrets("--set=syncSecret.enabled=true") == [("ClusterRole", "")]
    assert of_secrets("--set=syncSecret.enabled=true,syncSecret.namespaces={a,b}") == [("Role", "a"), ("Role", "b")]


@pytest.mark.parametrize("setting", ["windows.enabled=true", "rbac.goDriver=true"])
def test_rights_of_the_go_driver(setting: str) -> None:
    """The Go driver still uses the chart's account (Windows nodes, or a rollout) → it has all rights that its own chart
    gave it; otherwise the account has no more than ours needs."""
    sync = "--set=syncSecret.enabled=true"
    assert trio.go_rights() <= trio.rights(chart.render(sync, f"--set={setting}"))
    ours = trio.rights(chart.render(sync))
    assert not {(group, resource) for group, resource, verb in ours if verb in ("delete", "update", "*")}
    assert ("", "secrets", "list") not in ours and ("", "pods", "list") not in ours


@pytest.mark.parametrize(
    "arguments, granted",
    [
        ([], False),
        (["--api-versions=security.openshift.io/v1"], True),
        (["--api-versions=route.openshift.io/v1"], False),
        (["--set=rbac.ownerReferencesPermissionEnforcement=true"], True),
        (["--set=rbac.ownerReferencesPermissionEnforcement=false", "--api-versions=security.openshift.io/v1"], False),
    ],
)
@pytest.mark.parametrize("sync", ["syncSecret.enabled=true", "syncSecret.enabled=true,syncSecret.namespaces={a}"])
def test_the_right_to_set_owners(arguments: list[str], granted: bool, sync: str) -> None:
    """OwnerReferencesPermissionEnforcement, which is always on in OpenShift, demands delete on Secrets and pod statuses
    → granted there, or if the value says so; deletions themselves stay refused by a policy."""
    objects = chart.render(f"--set={sync}", *arguments)
    deletable = {
        resource
        for item in objects
        for rule in item.get("rules") or ()
        if "delete" in rule["verbs"] and item["metadata"]["name"] != "secretproviderclasses-admin-role"
        for resource in rule["resources"]
    }
    assert deletable == ({"secrets", "secretproviderclasspodstatuses"} if granted else set())
    assert "deletions" in policies(f"--set={sync}", *arguments)


def policies(*arguments: str, kube_version: str = chart.KUBE_VERSION) -> dict[str, str]:
    """The rendered policies: their names without the release's, and all of their expressions."""
    done = chart.template(*arguments, kube_version=kube_version)
    assert done.returncode == 0, done.stderr
    objects = [item for item in yaml.safe_load_all(done.stdout) if item]
    bound = [item["spec"]["policyName"] for item in objects if item["kind"] == "ValidatingAdmissionPolicyBinding"]
    found = [item for item in objects if item["kind"] == "ValidatingAdmissionPolicy"]
    assert sorted(bound) == sorted(item["metadata"]["name"] for item in found)
    return {
        item["metadata"]["name"].partition("csi-driver-")[2]: "\n".join(
            rule["expression"] for rule in item["spec"]["validations"]
        )
        for item in found
    }


def test_policies() -> None:
    """By default → those for what the account is granted; the taint adds that for nodes; the value or a cluster without
    this API leaves them out, also with the values of a release that lacks the value."""
    by_default = {"secrets", "deletions", "pod-statuses", "events"}
    assert set(policies()) == by_default
    assert set(policies("--set=validatingAdmissionPolicies=null")) == by_default
    assert set(policies("--set=startupTaint.enabled=true")) == {*by_default, "nodes"}
    assert set(policies("--set=restartOnRotation.enabled=true")) == {*by_default, "workloads"}
    assert set(policies("--set=restartOnRotation.enabled=true,rbac.goDriver=true")) == {"secrets", "workloads"}
    assert policies("--set=validatingAdmissionPolicies.applyPolicies=false") == {}


@pytest.mark.parametrize(
    "values, by_patch",
    [
        ("syncSecret.enabled=true", True),
        ("syncSecret.enabled=true,syncSecret.namespaces={a}", True),
        ("syncSecret.enabled=true,validatingAdmissionPolicies.applyPolicies=false", False),
        ("syncSecret.enabled=true,rbac.goDriver=true", False),
    ],
)
def test_how_secrets_are_read(values: str, by_patch: bool) -> None:
    """With the policies → by patches, which they see, without the right to get; otherwise by GET, with the right."""
    verbs = {
        verb
        for item in chart.render(f"--set={values}")
        for rule in item.get("rules") or ()
        if "secrets" in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("get" not in verbs) is by_patch and verbs >= {"create", "patch"}
    assert ("--read-secrets-by-patch=true" in container(f"--set={values}")["args"]) is by_patch


def test_what_the_policies_take_from_the_values() -> None:
    """Types, namespaces, adoption and the taint's key are those of the values; the Go driver, which overwrites Secrets
    of others, is only kept from the types of credentials."""
    plain = policies()["secrets"]
    assert "request.namespace in" not in plain and "adoptable" in plain and "orValue('Opaque') in" in plain
    types = "validatingAdmissionPolicies.allowedSecretTypes={Opaque,kubernetes.io/tls}"
    assert "in ['Opaque','kubernetes.io/tls']" in policies(f"--set={types}")["secrets"]
    named = "--set=syncSecret.enabled=true,syncSecret.namespaces={a,b}"
    assert "request.namespace in ['a','b']" in policies(named)["secrets"]
    assert "adoptable" not in policies("--set=syncSecret.adoptExisting=true")["secrets"]
    assert "taint.key == 'x'" in policies("--set=startupTaint.enabled=true,startupTaint.key=x")["nodes"]
    (only,) = policies("--set=rbac.goDriver=true").items()
    assert only[0] == "secrets" and "service-account-token" in only[1] and "owners" not in only[1]


def test_hooks_touch_our_crds_only() -> None:
    """The hooks may create CRDs and patch our two, and run unprivileged."""
    objects = chart.render("--show-only=templates/crds-hooks.yaml")
    rules = [rule for item in objects if item["kind"] == "ClusterRole" for rule in item["rules"]]
    kinds = ("secretproviderclasses", "secretproviderclasspodstatuses")
    names = [f"{kind}.secrets-store.csi.x-k8s.io" for kind in kinds]
    assert {(tuple(rule["verbs"]), tuple(rule.get("resourceNames", ()))) for rule in rules} == {
        (("patch",), tuple(names)),
        (("create",), ()),
    }
    for job in (item for item in objects if item["kind"] == "Job"):
        (only,) = job["spec"]["template"]["spec"]["containers"]
        context = only["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0 and context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]} and not context["allowPrivilegeEscalation"]


@pytest.mark.parametrize("linux, crds, there", [(True, True, True), (False, True, True), (True, False, False)])
def test_the_hooks_depend_on_their_value_only(linux: bool, crds: bool, there: bool) -> None:
    """linux.crds.enabled decides whether there are hooks; without Linux nodes' DaemonSet they stay, as in the Go chart:
    Windows nodes need the CRDs, too."""
    names = chart.names(f"--set=linux.enabled={str(linux).lower()},linux.crds.enabled={str(crds).lower()}")
    assert (("Job", "secrets-store-csi-driver-upgrade-crds") in names) is there


def test_the_hooks_values() -> None:
    """linux.crds.*: annotations, labels and resources are set on the hooks' pods, as in the Go chart, because service
    meshes read them there."""
    settings = "linux.crds.annotations.mesh=off,linux.crds.podLabels.team=a,linux.crds.resources.limits.cpu=1"
    for job in (item for item in chart.render(f"--set={settings}") if item["kind"] == "Job"):
        template = job["spec"]["template"]
        metadata = template["metadata"]
        assert (metadata["annotations"], metadata["labels"]) == ({"mesh": "off"}, {"team": "a"})
        assert template["spec"]["containers"][0]["resources"] == {"limits": {"cpu": 1}}


def test_metrics_are_off() -> None:
    """metricsAddr is empty → no metrics port, and no monitor scrapes it."""
    settings = "--set=linux.metricsAddr=,podMonitor.enabled=true"
    (monitor,) = (item for item in chart.render(settings) if item["kind"] == "PodMonitor")
    assert [item["port"] for item in monitor["spec"]["podMetricsEndpoints"]] == ["healthz"]
    assert [port["name"] for port in container(settings)["ports"]] == ["healthz"]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ((), [{"ports": [{"port": "healthz"}, {"port": "metrics"}]}]),
        (
            ('--set-json=networkPolicy.from=[{"podSelector":{}}]',),
            [{"ports": [{"port": "healthz"}, {"port": "metrics"}], "from": [{"podSelector": {}}]}],
        ),
        (
            ("--set=networkPolicy.from=null",),  # as values of an older release, which --reuse-values brings
            [{"ports": [{"port": "healthz"}, {"port": "metrics"}]}],
        ),
    ],
)
def test_network_policy(settings: tuple[str, ...], expected: list[Any]) -> None:
    """The policy never admits anybody to the status pages; ``from`` limits who reaches the other ports."""
    objects = chart.render("--set=networkPolicy.enabled=true,statusEndpoint=0.0.0.0:9809", *settings)
    (policy,) = (item for item in objects if item["kind"] == "NetworkPolicy")
    assert policy["spec"]["ingress"] == expected


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9999", ""])
def test_status_endpoint(endpoint: str) -> None:
    """statusEndpoint → the flag, also if it is empty; not set → the flag's default."""
    assert f"--status-endpoint={endpoint}" in container(f"--set=statusEndpoint={endpoint}")["args"]
    assert not [item for item in container()["args"] if item.startswith("--status-endpoint")]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ("linux.driver.resources.limits=null", {"requests": {"cpu": "70m", "memory": "140Mi"}}),
        (
            "linux.registrar.resources.limits.cpu=null",
            {"limits": {"memory": "400Mi"}, "requests": {"cpu": "70m", "memory": "140Mi"}},
        ),
        (
            "linux.driver.resources.limits.cpu=1.5,linux.driver.resources.requests.memory=1G",
            {"limits": {"cpu": "1700m", "memory": "400Mi"}, "requests": {"cpu": "70m", "memory": "994Mi"}},
        ),
        (
            "linux.driver.resources.requests.ephemeral-storage=1Gi",
            {
                "limits": {"cpu": "400m", "memory": "400Mi"},
                "requests": {"cpu": "70m", "memory": "140Mi", "ephemeral-storage": "1024Mi"},
            },
        ),
        ("linux.driver.resources=null,linux.registrar.resources=null,linux.livenessProbe.resources=null", None),
    ],
)
def test_resources(settings: str, expected: dict[str, Any] | None) -> None:
    """Resources are the sum of the three parts'; if one part has no limit, neither has the sum."""
    assert container(f"--set={settings}").get("resources") == expected


def test_the_startup_taint_is_tolerated() -> None:
    """The driver's pod tolerates the startup taint, whatever the user's tolerations are; if they cover it, none is
    added."""
    key = "secrets-store.csi.k8s.io/agent-not-ready"
    narrow = '--set-json=linux.tolerations=[{"key": "gpu", "operator": "Exists"}]'
    assert daemon_set("--set=startupTaint.enabled=true", narrow)["spec"]["template"]["spec"]["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": key, "operator": "Exists"},
    ]
    assert daemon_set("--set=startupTaint.enabled=true")["spec"]["template"]["spec"]["tolerations"] == [
        {"operator": "Exists"}
    ]


@pytest.mark.parametrize(
    "settings, path",
    [
        ((), "/readyz?exclude=providers"),
        (("--set=readinessProbe=null",), "/readyz?exclude=providers"),  # as values of an older release
        (("--set=readinessProbe.requireProvider=true",), "/readyz"),
        (("--set=readinessProbe.enabled=false",), None),
    ],
)
def test_readiness(settings: tuple[str, ...], path: str | None) -> None:
    """Kubelet asks /readyz, and a node without a provider is ready unless a value says otherwise."""
    probe = container(*settings).get("readinessProbe")
    assert (probe and probe["httpGet"]) == (path and {"path": path, "port": "healthz"})


def test_pod_monitors() -> None:
    """With each program that has metrics there is a PodMonitor that selects its pods and names ports that they have,
    and says on which node they run."""
    enabled = "--set=podMonitor.enabled=true,secretSync.enabled=true,providers.openbao.enabled=true"
    objects = chart.render(enabled)
    monitors = [item["spec"] for item in objects if item["kind"] == "PodMonitor"]
    templates = [item["spec"]["template"] for item in objects if item["kind"] in ("DaemonSet", "Deployment")]
    assert len(monitors) == len(templates) == 3
    for template in templates:
        labels = template["metadata"]["labels"].items()
        (monitor,) = (item for item in monitors if item["selector"]["matchLabels"].items() <= labels)
        ports = {port["name"] for part in template["spec"]["containers"] for port in part["ports"]}
        for endpoint in monitor["podMetricsEndpoints"]:
            assert endpoint["port"] in ports
            assert [item["targetLabel"] for item in endpoint["relabelings"]] == ["node"]
    assert len([item for item in chart.render("--set=podMonitor.enabled=true") if item["kind"] == "PodMonitor"]) == 1
