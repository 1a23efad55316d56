"""Wrong values of the most common settings: the render fails, names the key and says what is allowed."""

import pytest

from tests.helm import chart

BOOLEAN, NUMBER, LIST = "want boolean", "want integer", "want null or array"
DURATION, DIRECTORY = "a duration such as 30s, 2m or 1h30m", "an absolute path such as /var/lib/kubelet"

WRONG = [
    ("linux.enabled=maybe", BOOLEAN),
    ("linux.image.pullPolicy=Sometimes", "one of 'Always', 'IfNotPresent', 'Never'"),
    ("linux.image.repository=5", "want string"),
    ("linux.image.repository=mirror.example/sscd,linux.image.digest=latest", "sha256: and 64 hexadecimal digits"),
    ("linux.image.repository=", "an image's name without tag and digest"),
    ("linux.image.repository=mirror.example/sscd:1.0", "an image's name without tag and digest"),
    ("linux.image.repository=mirror.example/sscd@sha256:0", "an image's name without tag and digest"),
    ("linux.image.tag=a b", "an image's tag such as"),
    ("windows.enabled=true,windows.image.repository=", "an image's name without tag and digest"),
    ("windows.enabled=true,windows.livenessProbeImage.digest=x", "sha256: and 64 hexadecimal digits"),
    ("linux.crds.enabled=1", BOOLEAN),
    ("linux.driver.resources.limits.memory=lots", "a quantity such as 200Mi or 1.5Gi"),
    ("linux.driver.resources.limits.cpu=200Mi", "a quantity such as 200m or 1.5"),
    ("linux.registrar.resources.requests.memory=5X", "a quantity such as 200Mi or 1.5Gi"),
    ("linux.registrar.logVerbosity=much", NUMBER),
    ("linux.updateStrategy.type=Recreate", "one of 'RollingUpdate', 'OnDelete'"),
    ("linux.kubeletRootDir=var/lib/kubelet", DIRECTORY),
    ("linux.providersDir=providers", DIRECTORY),
    ("linux.additionalProvidersDirs[0]=etc", DIRECTORY),
    ("linux.additionalProvidersDirs=/etc", LIST),
    ("linux.metricsAddr=8095", "an address such as :8095 or 127.0.0.1:8095"),
    ("linux.metricsAddr=localhost", "an address such as :8095 or 127.0.0.1:8095"),
    ("linux.tolerations=all", LIST),
    ("linux.nodeSelector=linux", "want null or object"),
    ("linux.podAnnotations.team=5", "want null or string"),
    ("linux.env[0].value=x", "missing property 'name'"),
    ("linux.extraArgs[0]=debug", "a flag such as --volume-condition=true"),
    ("windows.enabled=perhaps", BOOLEAN),
    ("logVerbosity=-1", "minimum: got -1, want 0"),
    ("logVerbosity=loud", NUMBER),
    ("logFormatJSON=json", BOOLEAN),
    ("livenessProbe.port=0", "minimum: got 0, want 1"),
    ("livenessProbe.port=99999", "maximum: got 99,999, want 65,535"),
    ("livenessProbe.port=8095", "give one of them another port"),
    ("maxCallRecvMsgSize=big", NUMBER),
    ("rbac.install=sure", BOOLEAN),
    ("syncSecret.enabled=on", BOOLEAN),
    ("syncSecret.namespaces=team", LIST),
    ("enableSecretRotation=yes-please", BOOLEAN),
    ("rotationPollInterval=120", DURATION),
    ("rotationPollInterval=-2m", DURATION),
    ("rotationPollInterval=0s", DURATION),
    ("rotationPollInterval=0h0m", DURATION),
    ("providerHealthCheck=hm", BOOLEAN),
    ("providerHealthCheckInterval=often", DURATION),
    ("providerHealthCheckInterval=0m", DURATION),
    ("linux.metricsAddr=:99999", "an address such as :8095 or 127.0.0.1:8095"),
    ("tmpfsNoexec=sometimes", BOOLEAN),
    ("statusEndpoint=::1:80", "an address such as :8095"),
    ("imagePullSecrets[0]=registry", "want object"),
    ("tokenRequests[0].audiences=vault", "missing property 'audience'"),
    ("tokenRequests[0].audience=vault,tokenRequests[0].expirationSeconds=60", "want 600"),
    ("automountServiceAccountToken=x", BOOLEAN),
    ("commonLabels.tier=1", "want null or string"),
    ("tmpfsSize=large", "want null or integer"),
    ("startupTaint.enabled=x", BOOLEAN),
    ("restartOnRotation.enabled=x", BOOLEAN),
    ("podMonitor.interval=1 minute", DURATION),
    ("prometheusRule.staleAfterSeconds=0", "minimum: got 0, want 1"),
]


@pytest.mark.parametrize("setting, allowed", WRONG, ids=[setting for setting, _ in WRONG])
def test_wrong_values(setting: str, allowed: str) -> None:
    """A wrong value or type → an error with the key, as a path or as written by users, and what is allowed."""
    done = chart.template(f"--set={setting}")
    assert done.returncode != 0
    key = setting.rpartition(",")[2].partition("=")[0].partition("[")[0]
    assert key in done.stderr or f"'/{key.replace('.', '/')}" in done.stderr, done.stderr
    assert allowed in done.stderr, done.stderr


@pytest.mark.parametrize(
    "key",
    [
        "syncSecrets",
        "linux.imgae",
        "linux.crds.images",
        "windows.crds",
        "linux.driver.resource",
        "livenessProbe.ports",
        "linux.driver.resources.limits.gpu",
    ],
)
def test_unknown_keys(key: str) -> None:
    """A key that does not exist → an error with the key and its parent."""
    done = chart.template(f"--set={key}.x=y")
    assert done.returncode != 0
    parent, _, last = key.rpartition(".")
    place = f"/{parent.replace('.', '/')}" if parent else ""
    assert f"at '{place}'" in done.stderr and f"additional properties '{last}' not allowed" in done.stderr, done.stderr


def test_namespaces_do_not_bind_the_go_driver() -> None:
    """Secrets of listed namespaces only, with Windows nodes, whose Go driver lists all Secrets → refused, with both
    keys."""
    done = chart.template("--set=windows.enabled=true,syncSecret.enabled=true,syncSecret.namespaces={a}")
    assert done.returncode != 0 and "syncSecret.namespaces" in done.stderr and "windows.enabled=false" in done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        "linux.kubeletRootDir=/var/lib/k0s/kubelet/",
        "linux.metricsAddr=",
        "linux.image.repository=mirror.example:5000/team/sscd",
        "linux.image.repository=localhost:5000/sscd,linux.image.tag=1.0_rc-1",
        "linux.metricsAddr=0.0.0.0:8080",
        "rotationPollInterval=1h30m",
        "rotationPollInterval=1.5h",
        "linux.driver.resources.limits.cpu=1.5",
        "linux.driver.resources.limits.memory=1073741824",
        "linux.additionalProvidersDirs=null",
        "linux.driver=null,linux.registrar=null,linux.livenessProbe=null",
        "linux.updateStrategy.type=OnDelete",
        "linux.affinity=null",
        "linux.tolerations=null",
        "podMonitor=null",
        "startupTaint=null",
        "linux.env=null",
        "linux.crds.enabled=false",
        "tokenRequests[0].audience=",
        "linux.image.tag=null",
    ],
)
def test_right_values(settings: str) -> None:
    """Values that Kubernetes and the Go chart accept → accepted."""
    done = chart.template(f"--set={settings}")
    assert done.returncode == 0, done.stderr


def test_trailing_slash() -> None:
    """kubeletRootDir with a trailing slash → the same paths as without."""
    assert (
        chart.template("--set=linux.kubeletRootDir=/data/").stdout
        == chart.template("--set=linux.kubeletRootDir=/data").stdout
    )
