"""What the tests of synced Secrets share: reading Secrets, making checks due, pods of controllers."""

from base64 import b64decode

from driver.ports import Pod
from driver.sync import engine
from tests.cluster.api import Object
from tests.cluster.rig import ClusterRig
from tests.support.rig import Rig
from tests.support.waiting import wait_until

ENTRY: Object = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}


def values(secret: Object | None) -> dict[str, bytes] | None:
    """The decoded data of a Secret; None without one."""
    return None if secret is None else {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}


def owners(secret: Object | None) -> list[tuple[str, str]]:
    """Kind and name of a Secret's owners, none of which has flags such as ``controller``."""
    assert secret is not None
    references = secret["metadata"].get("ownerReferences") or []
    assert all(reference.keys() == {"apiVersion", "kind", "name", "uid"} for reference in references)
    return sorted((reference["kind"], reference["name"]) for reference in references)


def engine_of(rig: Rig) -> engine.SyncEngine:
    """The driver's sync engine."""
    found = rig.driver.backend.sync
    assert isinstance(found, engine.SyncEngine)
    return found


def check_now(rig: Rig) -> None:
    """Make all jobs due, as after five minutes."""
    for job in engine_of(rig)._table.jobs.values():
        job.due = 0.0
    engine_of(rig)._wake.set()


def workload(cluster_rig: ClusterRig, kind: str, replicas: int = 1, name: str = "web") -> list[Pod]:
    """Create a workload, and wait for the pods that its controller creates."""
    template: Object = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "nothing"}]},
    }
    spec: Object = {"template": template}
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    else:
        spec |= {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}
    group = "batch/v1" if kind == "Job" else "apps/v1"
    cluster_rig.api.create(
        {
            "apiVersion": group,
            "kind": kind,
            "metadata": {"namespace": cluster_rig.namespace, "name": name},
            "spec": spec,
        }
    )

    def pods() -> list[Object]:
        return [item for item in cluster_rig.listed("pods") if item["metadata"]["labels"]["app"] == name]

    wait_until(lambda: len(pods()) == replicas, f"{replicas} pods of {kind}")
    return [Pod(cluster_rig.namespace, item["metadata"]["name"], item["metadata"]["uid"]) for item in pods()]
