"""The chart's hook ``secrets-store-csi-crds``: installs or upgrades the CRDs, or marks them to be kept when the release
is uninstalled.

It replaces a kubectl image. The CRDs are those of the chart; the image contains them.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from driver.cluster.answers import Conflict
from driver.cluster.api import MERGE_PATCH, Api
from runtime import logs, process
from runtime.errors import ConfigurationError, Failure, Unavailable
from runtime.flags import Duration, FlagSet, flag

log = logs.get(__name__)

PROGRAM = "secrets-store-csi-crds"
API_VERSION, KIND = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
PATH = f"/apis/{API_VERSION}/customresourcedefinitions"
KEEP = {"helm.sh/resource-policy": "keep"}


@dataclass(frozen=True)
class CrdsConfig:
    """Flags of the hook."""

    mode: str = flag(
        "apply", "apply installs or upgrades the CRDs, keep marks them to be kept when the release is uninstalled"
    )
    crds: str = flag("/app/crds", "directory of the CRDs")
    kubeconfig: str = flag("", "kubeconfig file; without it the pod's service account")
    timeout: Duration = flag(Duration(120.0), "how long the API server may take")
    version: bool = flag(False, "print the version as JSON and exit")

    def __post_init__(self) -> None:
        if self.mode not in ("apply", "keep"):
            raise ConfigurationError("--mode must be apply or keep")
        if not list(Path(self.crds).glob("*.yaml")):
            raise ConfigurationError(f"--crds: there is no YAML file in {self.crds}")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return process.start(FlagSet(PROGRAM).add(CrdsConfig), CrdsConfig, sys.argv[1:] if argv is None else argv, run)


def run(config: CrdsConfig) -> int:
    """Run the hook; returns the exit code."""
    logs.configure("crds")
    try:
        asyncio.run(_run(config))
    except Failure as failure:
        log.error("The CRDs could not be written", exc=failure)
        return process.FAILURE_EXIT_CODE
    return 0


def _documents(directory: str) -> list[dict[str, Any]]:
    """The CRDs, all of them checked before the first is written. Raises ConfigurationError."""
    return [_document(path) for path in sorted(Path(directory).glob("*.yaml"))]


def _document(path: Path) -> dict[str, Any]:
    """The one CRD in a file."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--crds: {path} cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "it is unreadable"
        raise ConfigurationError(f"--crds: {path} is not one valid YAML document: {why}{where}") from None
    of = found if isinstance(found, dict) else {}
    if (of.get("apiVersion"), of.get("kind")) != (API_VERSION, KIND):
        raise ConfigurationError(
            f"--crds: {path} has apiVersion {of.get('apiVersion')!r} and kind {of.get('kind')!r}: "
            f"it must be a {KIND} of {API_VERSION}"
        )
    metadata, spec = of.get("metadata"), of.get("spec")
    if not (isinstance(metadata, dict) and isinstance(metadata.get("name"), str)):
        raise ConfigurationError(f"--crds: {path} has no metadata.name")
    if not (isinstance(spec, dict) and isinstance(spec.get("names"), dict)):
        raise ConfigurationError(f"--crds: {path} has no spec.names")
    return of


async def _run(config: CrdsConfig) -> None:
    api = Api(config.kubeconfig)
    try:
        documents = await asyncio.to_thread(_documents, config.crds)
        async with asyncio.timeout(config.timeout):
            for document in documents:
                await (_apply if config.mode == "apply" else _keep)(api, document)
                log.info("CRD written", mode=config.mode, name=document["metadata"]["name"])
    except TimeoutError:
        problem = api.last_error or "not even with an error"
        raise Unavailable(f"the API server did not answer within {config.timeout:g} s: {problem}") from None
    finally:
        await api.close()


async def _apply(api: Api, document: dict[str, Any]) -> None:
    """POST, or PATCH if the CRD exists: other programs' metadata in it is kept."""
    try:
        await api.call("POST", PATH, body=document)
    except Conflict:
        # A merge patch keeps what it does not mention, such as the short names of an older release.
        names = {"shortNames": None, "categories": None, **document["spec"]["names"]}
        body = {**document, "spec": {**document["spec"], "names": names}}
        await api.call("PATCH", f"{PATH}/{document['metadata']['name']}", body=body, content_type=MERGE_PATCH)


async def _keep(api: Api, document: dict[str, Any]) -> None:
    await api.call(
        "PATCH",
        f"{PATH}/{document['metadata']['name']}",
        body={"metadata": {"annotations": KEEP}},
        content_type=MERGE_PATCH,
    )


if __name__ == "__main__":
    raise SystemExit(main())
