"""Loads a kubeconfig by the ``kubernetes`` package. Imported only if there is one: it brings YAML and the ApiClient."""

import os
import re
from typing import Any

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger

from driver.cluster import credential_plugin, token_file
from runtime.errors import ConfigurationError


class _Loader(KubeConfigLoader):
    """The package's loader, whose credential plugins have limits and fail with a sentence, and which does not go on
    without the credentials that the file names."""

    async def _load_authentication(self) -> None:
        package: Any = super()  # without types
        await package._load_authentication()
        context: Any = self._current_context
        name = context["context"].safe_get("user")
        if name and self._user is None:
            raise ConfigurationError(f"the kubeconfig has no user {name!r}, which its context names")
        if self._user and "tokenFile" in self._user and not getattr(self, "token", ""):
            raise ConfigurationError(f"{self._path(str(self._user['tokenFile']))} is empty: it must contain the token")

    def _path(self, name: str) -> str:
        """A path in the user's entry, which may be relative to the file that has the entry."""
        package: Any = self
        return os.path.join(package._get_base_path(package._user.path), name)

    async def load_from_exec_plugin(self) -> bool:
        """Run the plugin and use what it prints."""
        plugin: Any = self._user["exec"]  # type: ignore[index]  # the caller has looked
        program = str(plugin["command"])
        if "/" in program:  # as kubectl does; others are looked for in $PATH
            program = self._path(program)
        command = [program, *map(str, plugin.safe_get("args") or ())]
        variables = {str(item["name"]): str(item["value"]) for item in plugin.safe_get("env") or ()}
        status = await credential_plugin.run(command, {**os.environ, **variables}, str(plugin["apiVersion"]))
        if token := status.get("token"):
            self.token = f"Bearer {token}"
        if status.get("clientCertificateData"):
            self.cert_file = _as_file(status, "clientCertificateData")
            self.key_file = _as_file(status, "clientKeyData")
        return True


async def load(path: str, configuration: Configuration) -> None:
    """Load a file, by default the one that kubectl uses; or several, with colons between them. Raises
    ConfigurationError, or OSError."""
    paths = path or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    if not _exists(paths):
        raise ConfigurationError(f"the kubeconfig {paths} does not exist")
    try:
        merged = KubeConfigMerger(paths).config
        make: Any = _Loader  # whose constructor has no types
        loader = make(config_dict=merged, config_base_path=None)
        await loader.load_and_set(configuration)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the kubeconfig is not valid YAML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("the kubeconfig, or its token file, is not text in UTF-8") from None
    except ConfigException as error:
        raise ConfigurationError(f"the kubeconfig is incomplete: {_without_content(str(error))}") from None
    # Their texts may quote the file. ArithmeticError is PyYAML's, for odd values.
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
        raise ConfigurationError(f"the kubeconfig is incomplete or malformed ({type(error).__name__})") from None
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
    if scheme == "Bearer":
        configuration.api_key["BearerToken"] = f"Bearer {token_file.clean(token, 'the token of the kubeconfig')}"


def _exists(paths: str) -> bool:
    return any(os.path.exists(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path)


def _without_content(text: str) -> str:
    """The package names the place of a key that is missing by all that is there, tokens and passwords included."""
    missing = re.match(r"Invalid kube-config file\. Expected key (\S{1,40}) in ", text)
    return f"it has no key {missing[1]!r} where there must be one" if missing else text.partition("{")[0].strip()


def _as_file(status: dict[str, Any], key: str) -> Any:
    return FileOrData(status, None, data_key_name=key, base64_file_content=False).as_file()
