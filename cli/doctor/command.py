"""The command line of ``secrets-store doctor``."""

import json
from dataclasses import asdict

import click

from cli import cluster
from cli.doctor import local, remote
from cli.doctor.checks import Check, State

_COLOURS = {State.OK: "green", State.PROBLEM: "red", State.UNKNOWN: "yellow"}


@click.command()
@click.option("--here", is_flag=True, help="Look at this node, too: run it on a node, or in the driver's container.")
@click.option("--no-api", is_flag=True, help="Do not ask the API server.")
@click.option("--kubelet-dir", default="/var/lib/kubelet", show_default=True, help="kubelet's root, for --here.")
@click.option(
    "--provider-dir",
    multiple=True,
    default=local.PROVIDER_DIRECTORIES,
    show_default=True,
    help="Directory of provider sockets, for --here; may be repeated.",
)
@cluster.output_option
@cluster.kubeconfig_option
@click.pass_context
def doctor(
    context: click.Context,
    here: bool,
    no_api: bool,
    kubelet_dir: str,
    provider_dir: tuple[str, ...],
    output: str,
    kubeconfig: str,
) -> None:
    """Look for what keeps the driver from working: a line for each check, ok or what to do.

    Exit code 1 if there is a problem. What could not be found out is no problem.
    """
    checks: list[Check] = []
    if not no_api:
        try:
            checks += cluster.run(cluster.find_kubeconfig(kubeconfig), remote.examine)
        except click.ClickException as error:
            checks.append(Check("API server", State.PROBLEM, error.message))
    if here:
        checks += local.examine(kubelet_dir, provider_dir)
    if output == "json":
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    for check in checks if output == "text" else ():
        state = click.style(check.state.ljust(7), fg=_COLOURS[check.state], bold=True)
        click.echo(f"{state} {check.what}: {check.sentence}")
    context.exit(1 if any(check.state is State.PROBLEM for check in checks) else 0)
