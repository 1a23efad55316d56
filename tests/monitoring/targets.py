"""The programs of a world as Prometheus finds them in a cluster of two nodes."""

from tests.monitoring.prometheus import Target
from tests.monitoring.world import World

NODES = {
    "api-driver": "worker-1",
    "sync-controller": "worker-1",
    "provider": "worker-2",
    "driver": "worker-2",
    "probe": "worker-2",
}


def targets(of: World) -> dict[str, Target]:
    """Each port with the labels that the PodMonitors add."""
    return {
        name: Target(port, {"node": NODES[name], "namespace": "kube-system", "pod": f"{name}-{NODES[name]}"})
        for name, port in of.ports.items()
    }
