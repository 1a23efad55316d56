"""What the chart renders: golden files, the trio's names, refusals by name, flags that exist."""

import re
from typing import Any

import pytest

from container.main import flags
from runtime.flags import UsageError
from tests.helm import chart, trio

# PodSecurityPolicy is gone since Kubernetes 1.25.
OF_THE_TRIO = {key for key in trio.OBJECTS if key[0] != "PodSecurityPolicy"}
OURS = {("PodMonitor", 0), ("PrometheusRule", 0), ("NetworkPolicy", 0)}


def daemon_set(*arguments: str) -> dict[str, Any]:
    """The Linux DaemonSet."""
    found = [
        item
        for item in chart.render(*arguments)
        if item["kind"] == "DaemonSet" and "windows" not in item["metadata"]["name"]
    ]
    assert len(found) == 1
    return found[0]


def container(*arguments: str) -> dict[str, Any]:
    """Its one container."""
    (only,) = daemon_set(*arguments)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("name", chart.SETS)
def test_golden(name: str) -> None:
    """A value set renders as its golden file; python -m tests.helm.chart --update after a change that is meant."""
    assert chart.golden(name) == (chart.GOLDEN / f"{name}.yaml").read_text()


def test_lint() -> None:
    """Helm's own linter has nothing to warn of."""
    done = chart.run("lint", str(chart.CHART), f"--kube-version={chart.KUBE_VERSION}")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


def test_objects_of_the_trio() -> None:
    """Nothing else in a cluster notices: every object of the trio's chart under its name, and beside them only what
    is off by default."""
    everything = set(chart.names(f"--values={chart.VALUES}/everything.yaml"))
    assert everything >= OF_THE_TRIO
    assert {kind for kind, _ in everything - OF_THE_TRIO} == {kind for kind, _ in OURS}
    assert set(chart.names()) <= OF_THE_TRIO


@pytest.mark.parametrize("name", chart.SETS)
def test_arguments_are_flags(name: str) -> None:
    """Every argument that the chart gives is one that the container takes, with a value that it takes."""
    given = [
        re.sub(r"\$\((\w+)\)", "unix:///csi/csi.sock", item)
        for item in container(f"--values={chart.VALUES}/{name}.yaml")["args"]
    ]
    try:
        flags().parse(given)
    except UsageError as error:
        pytest.fail(str(error))


def test_one_container() -> None:
    """One container named secrets-store, its resources the sum of the three's, one read-only root, one writable /tmp
    in memory."""
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


def test_the_users_old_file() -> None:
    """A values file of the trio's chart: its paths, ports, resources and switches mean what they meant."""
    only = container(f"--values={chart.VALUES}/trio.yaml")
    assert only["resources"]["limits"] == {"cpu": "1200m", "memory": "1224Mi"}
    assert [port["containerPort"] for port in only["ports"]] == [9810, 8080]
    assert "--kubelet-pods-dir=/data/kubelet/pods" in only["args"]
    assert "--rotation-poll-interval=120s" in only["args"] and "--sync-secrets=true" in only["args"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set=linux.image.repository=registry.k8s.io/csi-secrets-store/driver"],
        ["--set=linux.image.repository=mirror.example/csi-secrets-store/driver,linux.image.digest=sha256:" + "0" * 64],
        ["--set=linux.image.tag=v1.6.0"],
        ["--set=linux.image.repository=mirror.example/sscd,linux.image.tag=v1.4.8"],
    ],
)
def test_the_trios_image_is_refused(arguments: list[str]) -> None:
    """The old image would crash on our flags on every node: the render fails and names the key."""
    done = chart.template(*arguments)
    assert done.returncode != 0
    assert "linux.image.repository=" in done.stderr and "docs/migration.md" in done.stderr


@pytest.mark.parametrize("version, in_secrets", [("1.34.2", False), ("1.35.1-gke.1", True), ("1.36.0", True)])
def test_tokens_in_secrets(version: str, in_secrets: bool) -> None:
    """From Kubernetes 1.35 on tokens come in the secrets field, also where the version carries a vendor's suffix."""
    done = chart.template("--set=tokenRequests[0].audience=vault", kube_version=version)
    assert ("serviceAccountTokenInSecrets: true" in done.stdout) is in_secrets


def test_no_secret_access_unless_asked() -> None:
    """RBAC: nothing for Secrets by default; namespaced Roles where namespaces are listed."""

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
    """Where the Go driver runs under the chart's account, on Windows nodes or before its last pod is replaced, it has
    all that its own chart gave it; elsewhere nobody has."""
    sync = "--set=syncSecret.enabled=true"
    assert trio.go_rights() <= trio.rights(chart.render(sync, f"--set={setting}"))
    ours = trio.rights(chart.render(sync))
    assert not {(group, resource) for group, resource, verb in ours if verb in ("delete", "update", "*")}
    assert ("", "secrets", "list") not in ours and ("", "pods", "list") not in ours


def test_hooks_touch_our_crds_only() -> None:
    """The hooks may create CRDs and change these two; they run as nobody, with nothing to escalate."""
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


def test_the_hooks_values() -> None:
    """linux.crds.*: annotations, labels and resources are the hook's pods', as in the trio's chart (a mesh reads them
    there)."""
    settings = "linux.crds.annotations.mesh=off,linux.crds.podLabels.team=a,linux.crds.resources.limits.cpu=1"
    for job in (item for item in chart.render(f"--set={settings}") if item["kind"] == "Job"):
        template = job["spec"]["template"]
        told = template["metadata"]
        assert (told["annotations"], told["labels"]) == ({"mesh": "off"}, {"team": "a"})
        assert template["spec"]["containers"][0]["resources"] == {"limits": {"cpu": 1}}


def test_nothing_scrapes_a_port_that_is_off() -> None:
    """Without metricsAddr there is no such port, and no monitor asks for it."""
    settings = "--set=linux.metricsAddr=,podMonitor.enabled=true"
    (monitor,) = (item for item in chart.render(settings) if item["kind"] == "PodMonitor")
    assert [item["port"] for item in monitor["spec"]["podMetricsEndpoints"]] == ["healthz"]
    assert [port["name"] for port in container(settings)["ports"]] == ["healthz"]


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
    """The sum of the three's; where one of them has no limit there is none, never the others' alone."""
    assert container(f"--set={settings}").get("resources") == expected


def test_the_startup_taint_is_tolerated() -> None:
    """The driver's pod tolerates the taint that it removes, however narrow the user's tolerations are, and is not told
    twice what it tolerates anyhow."""
    key = "secrets-store.csi.k8s.io/agent-not-ready"
    narrow = '--set-json=linux.tolerations=[{"key": "gpu", "operator": "Exists"}]'
    assert daemon_set("--set=startupTaint.enabled=true", narrow)["spec"]["template"]["spec"]["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": key, "operator": "Exists"},
    ]
    assert daemon_set("--set=startupTaint.enabled=true")["spec"]["template"]["spec"]["tolerations"] == [
        {"operator": "Exists"}
    ]


def test_alerts_name_metrics_that_exist() -> None:
    """Every metric of the PrometheusRule is one that a role serves."""
    (rule,) = (item for item in chart.render("--set=prometheusRule.enabled=true") if item["kind"] == "PrometheusRule")
    named = set(re.findall(r"secrets_store_\w+", str([r["expr"] for g in rule["spec"]["groups"] for r in g["rules"]])))
    sources = (path for package in ("driver", "probe") for path in (chart.ROOT / package).rglob("*.py"))
    served = "".join(path.read_text() for path in sources)
    assert named and all(f'"{name}"' in served for name in named)
