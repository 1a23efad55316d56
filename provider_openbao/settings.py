"""Where a class's secrets are and how to log in there: all its parameters except ``objects``.

Names and meaning are those of HashiCorp's provider, so that a class moves over unchanged
(https://developer.hashicorp.com/vault/docs/platform/k8s/csi/configurations); ``vaultAuthMethod`` is in addition.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from yarl import URL

from provider_kit import InvalidRequest, MountRequest
from provider_openbao import texts

AuthMethod = Literal["kubernetes", "jwt", "approle", "token"]
KNOWN = (
    "audience",
    "objects",
    "roleName",
    "vaultAddress",
    "vaultAuthMethod",
    "vaultAuthMountPath",
    "vaultCACertPath",
    "vaultCADirectory",
    "vaultKubernetesMountPath",
    "vaultNamespace",
    "vaultSkipTLSVerify",
    "vaultTLSClientCertPath",
    "vaultTLSClientKeyPath",
    "vaultTLSServerName",
)
# A parameter this similar to a known one is a misspelling; others may be meant for a newer provider.
_SIMILARITY = 0.85


@dataclass(frozen=True)
class Tls:
    """How the server proves who it is, and how this provider does; paths are in the provider's file system."""

    ca_cert: str = ""
    ca_directory: str = ""
    server_name: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False


@dataclass(frozen=True)
class Server:
    """One server, or cluster of servers, as a class addresses it; ``address`` has no slash at its end."""

    address: str
    namespace: str
    tls: Tls


@dataclass(frozen=True)
class Auth:
    """How to log in. ``credentials`` are what an AppRole or a token login takes from the node publish Secret."""

    method: AuthMethod
    mount: str
    role: str
    audience: str
    credentials: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Defaults:
    """What the provider's flags say for classes that do not."""

    address: str = ""
    namespace: str = ""
    mount: str = "kubernetes"
    tls: Tls = Tls()


def server_of(request: MountRequest, defaults: Defaults) -> Server:
    """The server that the class names, or the flags."""
    _refuse_misspelled(request.attributes)
    get = request.attributes.get
    tls = Tls(
        ca_cert=get("vaultCACertPath") or defaults.tls.ca_cert,
        ca_directory=get("vaultCADirectory") or defaults.tls.ca_directory,
        server_name=get("vaultTLSServerName") or defaults.tls.server_name,
        client_cert=get("vaultTLSClientCertPath") or defaults.tls.client_cert,
        client_key=get("vaultTLSClientKeyPath") or defaults.tls.client_key,
        skip_verify=_switch("vaultSkipTLSVerify", get("vaultSkipTLSVerify", ""), defaults.tls.skip_verify),
    )
    if bool(tls.client_cert) != bool(tls.client_key):
        raise InvalidRequest("vaultTLSClientCertPath and vaultTLSClientKeyPath belong together: set both or none")
    if tls.server_name:
        texts.host("vaultTLSServerName", tls.server_name)
    address = check_address("vaultAddress", get("vaultAddress") or defaults.address)
    namespace = texts.header("vaultNamespace", get("vaultNamespace") or defaults.namespace)
    return Server(address, namespace.strip("/"), tls)


def auth_of(request: MountRequest, defaults: Defaults) -> Auth:
    """How the class logs in. ``jwt`` and ``kubernetes`` make the same call; only the mount differs."""
    get = request.attributes.get
    method = get("vaultAuthMethod") or "kubernetes"
    if method not in get_args(AuthMethod):
        raise InvalidRequest(f"vaultAuthMethod must be one of {', '.join(get_args(AuthMethod))}")
    default_mount = defaults.mount if method == "kubernetes" else method
    mount = (get("vaultAuthMountPath") or get("vaultKubernetesMountPath") or default_mount).strip("/")
    mount = texts.path("vaultAuthMountPath", mount.removeprefix("auth/"), "kubernetes or jwt")
    if method == "approle":
        return Auth("approle", mount, "", "", _credentials(request, "role_id", "secret_id"))
    if method == "token":
        return Auth("token", mount, "", "", _credentials(request, "token"))
    role = request.require("roleName")
    return Auth("jwt" if method == "jwt" else "kubernetes", mount, role, get("audience", ""), {})


def check_address(what: str, address: str) -> str:
    """``address`` without a slash at its end; InvalidRequest, which names ``what``, unless it is an HTTP URL."""
    if not address:
        raise InvalidRequest(
            f"{what} is missing: set it in spec.parameters of the SecretProviderClass, or the provider's --vault-addr"
        )
    try:
        url = URL(address)
        valid = url.scheme in ("http", "https") and bool(url.host) and not url.query_string and not url.fragment
        valid = valid and url.user is None and url.password is None and bool(url.port)
    except ValueError:
        valid = False
    if not valid or not address.strip().isprintable():
        raise InvalidRequest(
            f"{what} must be a URL such as https://openbao.example.com:8200, without user name, ? and #"
        )
    texts.host(f"the host in {what}", url.host or "")
    address = address.strip().rstrip("/")
    for end in ("/v1", "/ui"):
        if address.endswith(end):
            raise InvalidRequest(f"{what} must not end with {end}: write {address.removesuffix(end)}")
    return address


def _credentials(request: MountRequest, *names: str) -> dict[str, str]:
    missing = [name for name in names if not request.secrets.get(name)]
    if missing:
        raise InvalidRequest(
            f"vaultAuthMethod takes {' and '.join(names)} from the Secret that nodePublishSecretRef of the "
            f"volume names, where {missing[0]} is missing"
        )
    return {
        name: texts.header(f"{name} in the Secret that nodePublishSecretRef names", request.secrets[name].strip())
        for name in names
    }


def _switch(what: str, text: str, default: bool) -> bool:
    if text not in ("", "true", "false"):
        raise InvalidRequest(f'{what} must be "true" or "false", quoted in YAML')
    return text == "true" if text else default


def _refuse_misspelled(attributes: Mapping[str, str]) -> None:
    lower = {name.lower(): name for name in KNOWN}
    for name in sorted(set(attributes) - set(KNOWN)):
        close = [] if "/" in name else difflib.get_close_matches(name.lower(), lower, 1, _SIMILARITY)
        if close:
            raise InvalidRequest(f"unknown parameter {name}: write {lower[close[0]]}")
