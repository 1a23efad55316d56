"""Loads a kubeconfig by the ``kubernetes`` package. Imported only if there is one: it brings YAML and the ApiClient."""

import os
from typing import Any

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger

from driver.cluster import credential_plugin, token_file
from runtime.errors import ConfigurationError


class _Loader(KubeConfigLoader):
    """The package's loader, whose credential plugins have limits and fail with a sentence."""

    async def load_from_exec_plugin(self) -> bool:
        """Run the plugin and use what it prints."""
        plugin: Any = self._user["exec"]  # type: ignore[index]  # the caller has looked
        command = [str(plugin["command"]), *map(str, plugin.safe_get("args") or ())]
        variables = {str(item["name"]): str(item["value"]) for item in plugin.safe_get("env") or ()}
        status = await credential_plugin.run(command, {**os.environ, **variables}, str(plugin["apiVersion"]))
        if token := status.get("token"):
            self.token = f"Bearer {token}"
        if status.get("clientCertificateData"):
            self.cert_file = _as_file(status, "clientCertificateData")
            self.key_file = _as_file(status, "clientKeyData")
        return True


async def load(path: str, configuration: Configuration) -> None:
    """Load a file, by default the one that kubectl uses. Raises ConfigurationError, or what the package raises."""
    try:
        merged = KubeConfigMerger(path or kube_config.KUBE_CONFIG_DEFAULT_LOCATION).config
        make: Any = _Loader  # whose constructor has no types
        loader = make(config_dict=merged, config_base_path=None)
        await loader.load_and_set(configuration)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the kubeconfig is not valid YAML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("the kubeconfig, or its token file, is not text in UTF-8") from None
    # Their texts may quote the file. ArithmeticError is PyYAML's, for odd values.
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
        raise ConfigurationError(f"the kubeconfig is incomplete or malformed ({type(error).__name__})") from None
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
    if scheme == "Bearer":
        configuration.api_key["BearerToken"] = f"Bearer {token_file.clean(token, 'the token of the kubeconfig')}"


def _as_file(status: dict[str, Any], key: str) -> Any:
    return FileOrData(status, None, data_key_name=key, base64_file_content=False).as_file()
