"""``secrets-store status``: the drivers and volumes of all nodes, or of one."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from cli import cluster, node_page
from cli.cluster import Object
from cli.explain.evidence import CORE, DRIVER_PODS, pod_state
from driver.cluster.api import Api
from driver.objects import API_PATH
from driver.objects.pod_status import NODE_LABEL
from driver.objects.pod_status import PLURAL as STATUSES

WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class Failing:
    """A volume whose last refresh has failed."""

    node: str
    pod: str
    class_name: str
    since: str
    message: str


@dataclass
class Status:
    """``drivers`` has the state of the driver on each node that has one, ``volumes`` the number of volumes by node."""

    drivers: dict[str, str] = field(default_factory=dict)
    volumes: Counter[str] = field(default_factory=Counter)
    failing: list[Failing] = field(default_factory=list)

    @property
    def nodes(self) -> list[str]:
        """All nodes with a driver or a volume."""
        return sorted({*self.drivers, *self.volumes})

    @property
    def problem(self) -> bool:
        """Whether something is wrong."""
        return bool(self.failing) or any(self.drivers.get(node) != "ready" for node in self.nodes)

    def summary(self) -> str:
        """One line."""
        ready = sum(state == "ready" for state in self.drivers.values())
        volumes, nodes = self.volumes.total(), len(self.nodes)
        return (
            f"{nodes} node{'s' * (nodes != 1)}, {ready} of {len(self.drivers)} drivers ready, "
            f"{volumes} volume{'s' * (volumes != 1)}, {len(self.failing)} failing"
        )

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        nodes = {node: {"driver": self.drivers.get(node), "volumes": self.volumes[node]} for node in self.nodes}
        return {"problem": self.problem, "nodes": nodes, "failing": [asdict(item) for item in self.failing]}


@click.command()
@click.option("--node", default="", help="Only this node.")
@click.option("--watch", is_flag=True, help="Write it again every two seconds, until Ctrl-C.")
@click.option("--open", "opens", is_flag=True, help="Open the node's status page in a browser; needs kubectl.")
@cluster.output_option
@cluster.kubeconfig_option
@click.pass_context
def status(context: click.Context, node: str, watch: bool, opens: bool, output: str, kubeconfig: str) -> None:
    """Show the drivers and volumes of the cluster: a summary first, then what fails.

    Exit code 1 if a driver is not ready or a refresh fails. For one node in detail there is its status page: --open.
    """
    if opens and (watch or output != "text"):
        raise click.UsageError("--open shows a page, which refreshes itself: leave out --watch and --output")
    kubeconfig = cluster.find_kubeconfig(kubeconfig)
    if opens:
        pod = node_page.find(cluster.run(kubeconfig, lambda api: driver_pods(api, node)), node)
        node_page.show(pod, kubeconfig)
        return
    while True:
        found = cluster.run(kubeconfig, lambda api: gather(api, node))
        if watch and output == "text":
            click.clear()  # does nothing without a terminal
        _write(found, output)
        if not watch:
            context.exit(1 if found.problem else 0)
        time.sleep(WATCH_SECONDS)


async def gather(api: Api, node: str) -> Status:
    """The status of all nodes, or of one."""
    drivers = await driver_pods(api, node)
    query = {"labelSelector": f"{NODE_LABEL}={node}"} if node else {}
    return summarize(drivers, await cluster.items(api, f"{API_PATH}/{STATUSES}", query))


async def driver_pods(api: Api, node: str) -> list[Object]:
    """The driver's pods on all nodes, or on one."""
    query = {"labelSelector": DRIVER_PODS} | ({"fieldSelector": f"spec.nodeName={node}"} if node else {})
    return await cluster.items(api, f"{CORE}/pods", query)


def summarize(drivers: Sequence[Object], statuses: Sequence[Object]) -> Status:
    """From the driver's pods and all pod statuses."""
    found = Status()
    for pod in drivers:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and found.drivers.get(node) != "ready":  # while a roll-out surges there are two
            found.drivers[node] = pod_state(pod)
    for item in statuses:
        metadata, state = item["metadata"], item.get("status") or {}
        node = (metadata.get("labels") or {}).get(NODE_LABEL, "unknown node")
        found.volumes[node] += 1
        failure = state.get("lastFailure")
        if failure:
            found.failing.append(
                Failing(
                    node,
                    f"{metadata.get('namespace')}/{state.get('podName')}",
                    str(state.get("secretProviderClassName")),
                    str(state.get("lastRefresh", "its start")),
                    str(failure.get("message")),
                )
            )
    return found


def _write(found: Status, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    click.secho(found.summary(), fg="red" if found.problem else "green", bold=True)
    for node in found.nodes:
        state = found.drivers.get(node, "there is no driver")
        colour = None if state == "ready" else "red"
        click.echo(
            f"  {node}: {click.style(state, fg=colour)}, {found.volumes[node]} volume{'s' * (found.volumes[node] != 1)}"
        )
    for item in found.failing:
        click.echo(f"  {item.pod} on {item.node}, class {item.class_name}: content of {item.since}: {item.message}")
