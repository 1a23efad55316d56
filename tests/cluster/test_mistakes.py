"""The mistakes of ``tests/cli/test_mistakes.py`` with a real API server: it refuses the class, or the driver says what
to write."""

import subprocess

import pytest
import yaml

from tests.cli.test_mistakes import CLASS, MISTAKES
from tests.cluster import build
from tests.cluster.rig import ClusterRig
from tests.support.waiting import run_async, until_blocking

# What `kubectl apply` says.
REFUSED = {
    "list": 'unknown field "spec.parameters.objects[0].objectName"',
    "tab": "found character that cannot start any token",
    "parameters": 'unknown field "spec.parametres"',
    "outside": 'unknown field "spec.roleName"',
    "apiVersion": 'no matches for kind "SecretProviderClass" in version "secrets-store.csi.x-k8s.io/v1beta1"',
    "kind": 'no matches for kind "SecretProviderClas"',
}
SAID = {
    "duplicate": "there are: stub; correct spec.provider",  # kubectl sends the last one
    "provider": "there are: stub; correct spec.provider",
    "secret": "secret 'passwd' not found",
    "namespace": "a class must be in the namespace of its pod",
    "interval": "want a duration such as 2m",
    "objectName": "file matching objectName pasword not found in the provider's reply, which has: password",
}


def test_every_mistake_is_here() -> None:
    """The twelve."""
    assert {*REFUSED, *SAID} == {*MISTAKES}


def kubectl_apply(rig: ClusterRig, text: str) -> str:
    """The errors, empty if it was applied."""
    command = [
        str(build.path("kubectl")),
        f"--kubeconfig={rig.cluster.admin_kubeconfig}",
        f"--cache-dir={rig.directory}/cache",
    ]
    done = subprocess.run([*command, "apply", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_api_server(cluster_rig: ClusterRig, name: str) -> None:
    """``kubectl apply`` of a class with the mistake → it is refused; ``validate`` has the line and what to write."""
    text = MISTAKES[name].text.replace("namespace: default", f"namespace: {cluster_rig.namespace}")
    assert REFUSED[name] in kubectl_apply(cluster_rig, text)


@pytest.mark.parametrize("name", SAID)
def test_said_by_the_driver(cluster_rig: ClusterRig, name: str) -> None:
    """The API server accepts it → the publish fails with the sentence; the interval is an event."""
    own = f"namespace: {cluster_rig.namespace}"
    # That of the mistake is in another namespace than the pod.
    text = CLASS if name == "namespace" else MISTAKES[name].text.replace("namespace: default", own)
    assert kubectl_apply(cluster_rig, text) == ""
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, pod)
            if name != "interval":
                assert SAID[name] in (await volume.failure())[1]
                return
            for _ in range(2):
                await volume.publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("InvalidInterval"), "the event")
            assert SAID[name] in event["message"]

    try:
        run_async(test)
    finally:
        if name == "namespace":
            document = yaml.safe_load(text)
            cluster_rig.api.delete(cluster_rig.api.path(document))
