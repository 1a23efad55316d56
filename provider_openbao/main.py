"""The command ``secrets-store-provider-openbao``."""

from collections.abc import Sequence
from dataclasses import dataclass

from provider_kit import (
    ConfigurationError,
    Duration,
    InvalidRequest,
    ServeConfig,
    Versions,
    flag,
    load_key,
    run_command,
)
from provider_openbao.provider import OpenBaoProvider
from provider_openbao.settings import Defaults, Tls, check_address

PROGRAM = "secrets-store-provider-openbao"


@dataclass(frozen=True)
class OpenBaoConfig(ServeConfig):
    """The provider's flags, in addition to those of every provider; where they have a meaning in HashiCorp's provider,
    they have its names."""

    endpoint: str = flag(
        "unix:///var/run/secrets-store-csi-providers/openbao.sock", "socket to serve; its name is the provider's name"
    )
    vault_addr: str = flag("", "address of the server, for classes without vaultAddress")
    vault_namespace: str = flag("", "namespace, for classes without vaultNamespace")
    vault_mount: str = flag("kubernetes", "auth mount, for classes without vaultAuthMountPath")
    vault_tls_ca_cert: str = flag("", "file with CA certificates in PEM, for classes without vaultCACertPath")
    vault_tls_ca_directory: str = flag("", "directory of such files, for classes without vaultCADirectory")
    vault_tls_server_name: str = flag("", "name in the server's certificate, for classes without vaultTLSServerName")
    vault_tls_client_cert: str = flag("", "client certificate in PEM, for classes without vaultTLSClientCertPath")
    vault_tls_client_key: str = flag("", "its key in PEM, for classes without vaultTLSClientKeyPath")
    vault_tls_skip_verify: bool = flag(False, "do not verify the server's certificate; for labs only")
    key_file: str = flag(
        "", "file with the key for versions, created if absent; empty: a new key, and new versions, with each start"
    )
    timeout: Duration = flag(Duration(10.0), "time limit of one call to the server")
    max_reply_bytes: int = flag(4 * 1024 * 1024 - 64 * 1024, "greatest size of a volume, below the driver's limit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vault_addr:
            try:
                check_address("--vault-addr", self.vault_addr)
            except InvalidRequest as error:
                raise ConfigurationError(str(error)) from None
        if bool(self.vault_tls_client_cert) != bool(self.vault_tls_client_key):
            raise ConfigurationError("--vault-tls-client-cert and --vault-tls-client-key belong together")
        if self.timeout <= 0 or self.max_reply_bytes <= 0:
            raise ConfigurationError("--timeout and --max-reply-bytes must be positive")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(PROGRAM, OpenBaoConfig, make, argv)


def make(config: OpenBaoConfig) -> OpenBaoProvider:
    """The provider that ``config`` describes."""
    tls = Tls(
        config.vault_tls_ca_cert,
        config.vault_tls_ca_directory,
        config.vault_tls_server_name,
        config.vault_tls_client_cert,
        config.vault_tls_client_key,
        config.vault_tls_skip_verify,
    )
    return OpenBaoProvider(
        Defaults(config.vault_addr, config.vault_namespace, config.vault_mount, tls),
        Versions(load_key(config.key_file)),
        timeout=config.timeout,
        max_bytes=config.max_reply_bytes,
    )


if __name__ == "__main__":
    raise SystemExit(main())
