"""``secrets-store status --open``: the status page of a node in a browser, by a forwarded port.

The page is on the loopback address of the driver's pod, so kubectl forwards a port to it: it knows every way to log on
to a cluster, and every proxy.
"""

import re
import shutil
import subprocess
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import click

from cli.explain.evidence import pod_state
from probe.config import DEFAULT_STATUS_ENDPOINT
from runtime.endpoints import TcpEndpoint, parse_host_port
from runtime.errors import ConfigurationError

_FLAG = "--status-endpoint"
_FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) -> ")


@dataclass(frozen=True)
class DriverPod:
    """The driver's pod on a node, and the port of the status page in it."""

    node: str
    namespace: str
    name: str
    port: int


def find(drivers: Sequence[Mapping[str, Any]], node: str) -> DriverPod:
    """The pod of the node, or of the only one. Raises ClickException."""
    by_node: dict[str, Mapping[str, Any]] = {}
    for pod in drivers:
        at = str((pod.get("spec") or {}).get("nodeName") or "")
        if at and (at not in by_node or pod_state(pod) == "ready"):  # while a roll-out surges there are two
            by_node[at] = pod
    if node and node not in by_node:
        raise click.ClickException(f"there is no driver on node {node}: secrets-store status lists the nodes")
    if not node and len(by_node) != 1:
        shown = ", ".join(sorted(by_node)[:10]) or "there is none"
        raise click.ClickException(f"each node has a page of its own; name one with --node: {shown}")
    at = node or next(iter(by_node))
    metadata = by_node[at]["metadata"]
    return DriverPod(at, metadata["namespace"], metadata["name"], _port(by_node[at]))


def show(pod: DriverPod, kubeconfig: str) -> None:
    """Forward the port and open a browser, until Ctrl-C. Raises ClickException."""
    with suppress(KeyboardInterrupt), _forwarded(pod, kubeconfig) as (process, address):
        page = f"http://{address}/"
        click.echo(f"The status page of {pod.node}: {page} (until Ctrl-C)")
        if not webbrowser.open(page):
            click.echo("No browser can be opened here: open the address in one on this machine")
        process.wait()
        raise click.ClickException("the port is not forwarded any more: kubectl ended; was the pod replaced?")


@contextmanager
def _forwarded(pod: DriverPod, kubeconfig: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """kubectl, and the local address that it forwards from."""
    program = shutil.which("kubectl")
    if program is None:
        raise click.ClickException("kubectl is needed to forward a port, and is not on the PATH: install it")
    command = [program, "port-forward", f"--namespace={pod.namespace}", "--address=127.0.0.1"]
    command += [f"--kubeconfig={kubeconfig}"] * (bool(kubeconfig) and ":" not in kubeconfig)
    process = subprocess.Popen([*command, f"pod/{pod.name}", f":{pod.port}"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := _FORWARDING.match(line):
                yield process, found[1]
                return
        raise click.ClickException("kubectl could not forward the port; its lines above say why")
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _port(pod: Mapping[str, Any]) -> int:
    """The port of the status page, as the arguments of the pod's containers say."""
    written = DEFAULT_STATUS_ENDPOINT
    for container in (pod.get("spec") or {}).get("containers") or ():
        for argument in (*(container.get("command") or ()), *(container.get("args") or ())):
            name, given, value = str(argument).partition("=")
            if name == _FLAG and given:
                written = value
    if not written:
        raise click.ClickException("the status page is turned off: set statusEndpoint in the chart's values")
    try:
        endpoint: TcpEndpoint = parse_host_port(written)
    except ConfigurationError as error:
        raise click.ClickException(f"{_FLAG} of the pod {pod['metadata']['name']}: {error}") from None
    return endpoint.port
