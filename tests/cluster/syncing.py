"""Pods of controllers, whose Secrets are theirs."""

from driver.ports import Pod
from tests.cluster.api import Object
from tests.cluster.rig import ClusterRig
from tests.support.waiting import wait_until


def workload(cluster_rig: ClusterRig, kind: str, replicas: int = 1, name: str = "web", **fields: object) -> list[Pod]:
    """Create a workload, with further ``fields`` of its specification, and wait for the pods that its controller
    creates."""
    template: Object = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "nothing"}]},
    }
    spec: Object = {"template": template, **fields}
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    elif kind == "DaemonSet":
        spec["selector"] = {"matchLabels": {"app": name}}
        template["spec"]["tolerations"] = [{"operator": "Exists"}]  # the nodes of the tests are never ready
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
