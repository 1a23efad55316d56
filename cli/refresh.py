"""``secrets-store refresh class``: make the volumes of a class due at once, by its annotation."""

import json
from datetime import UTC, datetime

import click

from cli import cluster
from cli.explain.evidence import STORAGE
from cli.validate.users import DRIVER
from driver.cluster.api import MERGE_PATCH, Api
from driver.manifests.schema import did_you_mean
from driver.objects import API_PATH
from driver.objects.classes import PLURAL as CLASSES
from driver.objects.pod_status import PLURAL as STATUSES
from driver.ports import REFRESH_ANNOTATION
from runtime.errors import NotFound, PermissionDenied


@click.group()
def refresh() -> None:
    """Make volumes due at once."""


@refresh.command("class")
@click.argument("name")
@cluster.namespace_option
@cluster.output_option
@cluster.kubeconfig_option
@click.pass_context
def refresh_class(context: click.Context, name: str, namespace: str, output: str, kubeconfig: str) -> None:
    """Fetch the content of all volumes of a class again.

    Each node does so with kubelet's next republish, within about a minute. Exit code 1 if rotation is off: then
    volumes keep their content.
    """
    kubeconfig = cluster.find_kubeconfig(kubeconfig)
    namespace = namespace or cluster.default_namespace(kubeconfig)
    volumes, rotates = cluster.run(kubeconfig, lambda api: _refresh(api, namespace, name))
    if output == "json":
        document = {"class": f"{namespace}/{name}", "volumes": volumes, "rotation": rotates}
        click.echo(json.dumps(document))
    elif rotates is False:
        click.echo(
            f"Class {namespace}/{name} is annotated, but rotation is off, so its volumes keep their content: install "
            "the chart with enableSecretRotation=true, or restart the pods."
        )
    else:
        known = "its volumes are" if volumes is None else f"{volumes} volume{'s are' if volumes != 1 else ' is'}"
        click.echo(f"Class {namespace}/{name}: {known} due now, and will be fetched again within about a minute.")
    context.exit(1 if rotates is False else 0)


async def _refresh(api: Api, namespace: str, name: str) -> tuple[int | None, bool | None]:
    """The number of volumes, and whether rotation is on; None for what the user may not read."""
    path = f"{API_PATH}/namespaces/{namespace}"
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    try:
        body = {"metadata": {"annotations": {REFRESH_ANNOTATION: now}}}
        await api.call("PATCH", f"{path}/{CLASSES}/{name}", body=body, content_type=MERGE_PATCH)
    except NotFound as failure:
        try:
            known = [item["metadata"]["name"] for item in await cluster.items(api, f"{path}/{CLASSES}")]
        except (NotFound, PermissionDenied):
            raise failure from None
        hint = did_you_mean(name, known, ".")
        raise NotFound(f"there is no class {name} in namespace {namespace}{hint}") from None
    volumes: int | None = None
    rotates: bool | None = None
    try:
        statuses = await cluster.items(api, f"{path}/{STATUSES}")
        volumes = sum((item.get("status") or {}).get("secretProviderClassName") == name for item in statuses)
        driver = await api.call("GET", f"{STORAGE}/csidrivers/{DRIVER}")
        rotates = bool((driver.get("spec") or {}).get("requiresRepublish"))
    except (NotFound, PermissionDenied):
        pass  # the class is annotated all the same
    return volumes, rotates
