"""The sync controller's ValidatingAdmissionPolicies as its chart renders them, for the account of every rig: names
are fixed, so all namespaces of the cluster share them."""

import subprocess

import yaml

from tests.cluster import build, releases
from tests.cluster.api import Object
from tests.cluster.policies import CHART
from tests.cluster.secret_sync.rig import ACCOUNT
from tests.cluster.servers import ControlPlane

AUDIENCES = ("vault", "other")
PREFIX = "secrets-store-sync-controller-"


def rendered(*arguments: str) -> list[Object]:
    """The objects of the controller's own chart, with these audiences."""
    values = [f"--set=tokenRequestAudience[{index}].audience={name}" for index, name in enumerate(AUDIENCES)]
    command = [str(build.path("helm")), "template", "sync", str(CHART / "sync"), f"--kube-version={releases.version()}"]
    done = subprocess.run([*command, *values, *arguments], check=True, capture_output=True, text=True)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def limit_every_rig(cluster: ControlPlane) -> None:
    """Apply the policies to the controller's account in every namespace."""
    for item in rendered():
        for condition in item.get("spec", {}).get("matchConditions", ()):
            condition["expression"] = f"request.userInfo.username.endsWith(':{ACCOUNT}')"
        if item["kind"].startswith("ValidatingAdmissionPolicy"):
            cluster.api.apply(item)


def refused_by(name: str) -> str:
    """How the API server's text says which policy refused."""
    return f"ValidatingAdmissionPolicy '{PREFIX}{name}' with binding '{PREFIX}{name}-binding' denied request: "
