"""The API server, for commands that ask it: as the user's kubeconfig says, or from within a pod."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from driver.cluster.api import Api
from driver.cluster.network import UnusableConfigurationError
from runtime.errors import Failure

Object = dict[str, Any]
Result = TypeVar("Result")

DEFAULT_KUBECONFIG = Path("~/.kube/config")
SECONDS, _LOOK_SECONDS = 20.0, 0.1
kubeconfig_option = click.option(
    "--kubeconfig", default="", help="Default: $KUBECONFIG, ~/.kube/config, or the pod's own service account."
)
namespace_option = click.option("-n", "--namespace", default="", help="Default: that of the kubeconfig's context.")
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How the answer is written."
)


def find_kubeconfig(given: str) -> str:
    """The file, or files with colons between them, that kubectl would use; empty for the service account of a pod."""
    found = given or os.environ.get("KUBECONFIG", "")
    default = DEFAULT_KUBECONFIG.expanduser()
    return found or (str(default) if default.exists() else "")


def default_namespace(kubeconfig: str) -> str:
    """The namespace of the current context. What is wrong with the file is said when it is used."""
    try:
        config = yaml.safe_load(Path(kubeconfig.split(":")[0]).read_text())
        contexts = {item["name"]: item["context"] for item in config["contexts"]}
        return str(contexts[config["current-context"]].get("namespace") or "default")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return "default"


def run(kubeconfig: str, job: Callable[[Api], Awaitable[Result]], seconds: float | None = SECONDS) -> Result:
    """Do a job with the API server, in so many seconds at most. Raises ClickException, which ends the command with
    exit code 1 and a sentence."""
    logging.disable()  # the driver's client logs what it retries; here the sentence at the end says it

    async def connected() -> Result:
        api = Api(kubeconfig)
        try:
            async with asyncio.timeout(seconds):
                return await _unless_unusable(api, job)
        except TimeoutError:
            raise click.ClickException(f"the API server does not answer: {api.last_error or 'no response'}") from None
        finally:
            await api.close()

    try:
        return asyncio.run(connected())
    except Failure as failure:
        raise click.ClickException(str(failure)) from None
    finally:
        logging.disable(logging.NOTSET)


async def _unless_unusable(api: Api, job: Callable[[Api], Awaitable[Result]]) -> Result:
    """Do the job. The client waits for a better kubeconfig for ever, as a daemon should; a command ends."""
    task = asyncio.ensure_future(job(api))
    try:
        while not (await asyncio.wait((task,), timeout=_LOOK_SECONDS))[0]:
            if api.last_error.startswith(UnusableConfigurationError.__name__):
                raise click.ClickException(api.last_error.partition(": ")[2])
        return task.result()
    finally:
        task.cancel()


async def items(api: Api, path: str, query: Mapping[str, str] | None = None) -> list[Object]:
    """A collection. Raises the failures of ``Api.call``."""
    found = (await api.call("GET", path, query=query)).get("items")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
