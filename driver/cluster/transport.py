"""The ``kubernetes`` package, reduced to what is asked of it: configuration, credentials that renew themselves, TLS,
connections."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from driver.cluster import slim_imports

slim_imports.prepare()

import aiohttp  # noqa: E402  # after prepare(), as the package imports it too
from kubernetes.aio.client.configuration import Configuration  # noqa: E402  # after prepare()
from kubernetes.aio.client.rest import RESTClientObject  # noqa: E402
from kubernetes.aio.config.config_exception import ConfigException  # noqa: E402
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME, load_incluster_config  # noqa: E402

from runtime.version import build  # noqa: E402

CONNECTIONS = 8
CONNECT_SECONDS = 5.0

# A file that is being replaced may be half there, and the package takes what it reads for a map.
CONFIGURATION_ERRORS = (ConfigException, OSError, ValueError, TypeError, AttributeError)


class Transport:
    """One pool of kept connections with one configuration; made anew when the credentials turn out to be stale.

    It stands on the package's REST client, not on the ``ApiClient`` above that, which adds the conversion of models and
    imports pydantic for it: 9 MiB.
    """

    def __init__(self, configuration: Configuration) -> None:
        slim_imports.shrink_tls_buffers()
        self._configuration = configuration
        self._client = RESTClientObject(configuration)
        self._host = configuration.host
        self._user_agent = f"csi-secrets-store/controller/{build().version} (linux) python"

    @staticmethod
    async def open(kubeconfig: str) -> "Transport":
        """Load the configuration: the file if one is named by flag or $KUBECONFIG, else the pod's service account, else
        the default file.

        Raises one of CONFIGURATION_ERRORS.
        """
        configuration = Configuration()
        kubeconfig = kubeconfig or os.environ.get("KUBECONFIG", "")
        if not kubeconfig and Path(SERVICE_TOKEN_FILENAME).exists():  # noqa: ASYNC240
            load_incluster_config(client_configuration=configuration)
        else:
            await _load(kubeconfig, configuration)
        configuration.connection_pool_maxsize = CONNECTIONS + 1  # and the watch
        # Clusters have CA certificates without keyUsage; Go accepts them, Python's strict mode (3.13) does not.
        configuration.disable_strict_ssl_verification = True
        # Retries are Api's job. False would be taken for a number of tries that is never reached: every GET that a 5xx
        # answers would be repeated for ever, up to two minutes apart, where nobody sees it.
        configuration.retries = None
        # aiohttp would look for a ~/.netrc in a thread and for proxies in the environment with each call: a tenth of a
        # publish. Proxies are rare, and an API server has no use for a netrc.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
        return Transport(configuration)

    async def request(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One call: status, headers, body."""
        bound = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        async with await self._send(method, path, body, headers, bound) as response:
            return response.status, response.headers, await response.read()

    async def stream(self, path: str, accept: str, idle_seconds: float) -> aiohttp.ClientResponse:
        """A GET whose body the caller reads; a silence longer than ``idle_seconds`` ends it with a TimeoutError."""
        bound = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds)
        return await self._send("GET", path, None, {"Accept": accept}, bound)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _send(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        headers["User-Agent"] = self._user_agent
        try:
            bearer = (await self._configuration.auth_settings()).get("BearerToken")  # a rotated token is read anew
        except ConfigException as error:  # the token's file is being replaced
            raise OSError(f"no usable credentials: {error}") from None
        if bearer is not None:
            headers[bearer["key"]] = str(bearer["value"])
        answer = await self._client.request(
            method, self._host + path, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _load(kubeconfig: str, configuration: Configuration) -> None:
    """From a file. Imported only where it is used: it brings YAML and the ApiClient with it."""
    import yaml
    from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, load_kube_config

    try:
        await load_kube_config(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION, client_configuration=configuration)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
