"""Connections to the API server, made by the ``kubernetes`` package: configuration, self-renewing credentials, TLS."""

import importlib
import os
from pathlib import Path
from typing import Any

from driver.cluster import proxy, slim_imports
from driver.cluster.http_client import aiohttp
from driver.cluster.network import CONNECTIONS, NETWORK_ERRORS, UnusableConfigurationError

slim_imports.prepare()

from kubernetes.aio.client.configuration import Configuration  # noqa: E402  # after prepare()
from kubernetes.aio.client.rest import RESTClientObject  # noqa: E402  # after prepare()
from kubernetes.aio.config.config_exception import ConfigException  # noqa: E402  # after prepare()
from kubernetes.aio.config.incluster_config import (  # noqa: E402  # after prepare()
    SERVICE_TOKEN_FILENAME,
    load_incluster_config,
)

from driver.cluster.token_file import TokenFile  # noqa: E402  # after prepare()
from runtime.errors import ConfigurationError  # noqa: E402  # after prepare()
from runtime.version import build  # noqa: E402  # after prepare()

ERRORS = (aiohttp.ClientError, *NETWORK_ERRORS)
CONNECT_SECONDS = 5.0
USER_AGENT = f"csi-secrets-store/controller/{build().version} (linux) python"

# A file that is being replaced may be incomplete, and the package assumes that what it reads is a map.
CONFIGURATION_ERRORS = (ConfigException, ConfigurationError, OSError, ValueError, TypeError, AttributeError)


class Transport:
    """A pool of kept connections with one configuration; replaced when its credentials turn out to be stale.

    ``client`` is the REST client of the package. The ``ApiClient`` above it converts to and from models, for which it
    imports pydantic: 9 MiB. ``credentials()`` are the current authentication headers.
    """

    def __init__(self, configuration: Configuration) -> None:
        slim_imports.shrink_tls_buffers()
        self.client = RESTClientObject(configuration)
        self.host: str = configuration.host
        self.credentials = configuration.auth_settings
        self.users = 0  # calls under way

    @staticmethod
    async def open(kubeconfig: str) -> "Transport":
        """Load the configuration from the file that the flag or $KUBECONFIG names, else the pod's service account, else
        the default file.

        Raises one of CONFIGURATION_ERRORS.
        """
        configuration = Configuration()
        kubeconfig = kubeconfig or os.environ.get("KUBECONFIG", "")
        if not kubeconfig and Path(SERVICE_TOKEN_FILENAME).exists():  # noqa: ASYNC240  # a file of the pod's tmpfs
            _load_service_account(configuration)
        else:
            # Imported here because it brings YAML and the ApiClient.
            module = importlib.import_module("driver.cluster.kubeconfig")
            await module.load(kubeconfig, configuration)
        configuration.connection_pool_maxsize = CONNECTIONS + 1  # and the watch
        # Some clusters have CA certificates without keyUsage. Go accepts them, Python's strict mode (3.13) does not.
        configuration.disable_strict_ssl_verification = True
        # Retries are Api's job. The package takes False for a number of attempts that is never reached: it would repeat
        # every GET that is answered with a 5xx for ever, up to two minutes apart and unnoticed.
        configuration.retries = None
        _choose_proxy(configuration)
        return Transport(configuration)

    @staticmethod
    def timeout(total: float | None, idle: float | None = None) -> aiohttp.ClientTimeout:
        """The limits of one request in seconds: for all of it, and for the silence between two parts of its answer."""
        return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=idle)

    async def send(
        self,
        method: str,
        url: str,
        body: Any,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # not a duration
    ) -> aiohttp.ClientResponse:
        """Send one request with the current credentials, to a path with its query."""
        try:
            bearer = (await self.credentials()).get("BearerToken")  # read again if the token was rotated
        except ConfigException as error:  # the token's file is being replaced
            raise UnusableConfigurationError(f"no usable credentials: {error}") from None
        if bearer is not None:
            headers[bearer["key"]] = str(bearer["value"])
        headers["User-Agent"] = USER_AGENT
        answer = await self.client.request(
            method, self.host + url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


def _load_service_account(configuration: Configuration) -> None:
    """Use what kubelet gives to each pod; the package reads address and CA, and does not read tokens carefully."""
    token_file = TokenFile(SERVICE_TOKEN_FILENAME)
    load_incluster_config(client_configuration=configuration, try_refresh_token=False)

    def refresh(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = f"Bearer {token_file.current()}"

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]  # declared as None
    refresh(configuration)


def _choose_proxy(configuration: Configuration) -> None:
    """Use the proxy of the kubeconfig, as client-go does, or else that of the environment."""
    # For each call aiohttp would look for ~/.netrc and for proxies, in a thread, which takes a tenth of the time of a
    # publish; and its reading of NO_PROXY is not Go's.
    session: dict[str, Any] = {"trust_env": False}
    configuration.client_session_kwargs = session
    if configuration.proxy:
        chosen = proxy.parse(configuration.proxy, "proxy-url of the kubeconfig")
    else:
        found = proxy.from_environment(configuration.host, os.environ)
        if found is None:
            return
        chosen = found
    configuration.proxy = chosen.url
    if chosen.authorization:
        credentials = {"Proxy-Authorization": chosen.authorization}
        if configuration.host.startswith("https:"):
            configuration.proxy_headers = credentials  # of CONNECT; the API server does not see them
        else:
            session["headers"] = credentials  # a proxy for plain HTTP reads the call itself
