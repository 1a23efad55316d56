"""The registrar's configuration: node-driver-registrar's flags with their names and defaults, and some of our own."""

from dataclasses import dataclass

from runtime import status
from runtime.endpoints import TcpEndpoint, UnixEndpoint, parse_csi_address, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import SIDECAR_GO_ONLY, Duration, Ignored, flag

PROBE_MODE = "kubelet-registration-probe"
GO_ONLY = (
    Ignored("enable-pprof", "Go's profiler is not part of a Python process; use py-spy", is_switch=True),
    *SIDECAR_GO_ONLY,
)


@dataclass(frozen=True)
class RegistrarConfig:
    """The configuration of one registrar, validated when it is created."""

    csi_address: str = flag("/run/csi/socket", "the driver's socket as this process sees it")
    kubelet_registration_path: str = flag("", "the driver's socket as kubelet sees it on the host; required")
    plugin_registration_path: str = flag("/registration", "directory of the registration socket")
    timeout: Duration = flag(Duration(1.0), "deadline of GetPluginInfo and of the health check's GetInfo")
    http_endpoint: str = flag("", "address of the health server; empty turns it off")
    health_port: int = flag(0, "port of the health server", deprecated="use --http-endpoint")
    mode: str = flag("", "kubelet-registration-probe exits at once with success", deprecated="use the health server")
    connection_timeout: Duration = flag(
        Duration(0.0), "ignored", deprecated="the registrar waits for the driver for ever"
    )
    logging_format: str = flag("text", "text or json")
    v: int = flag(0, "log verbosity")
    version: bool = flag(False, "print the version and exit")
    # Flags that node-driver-registrar does not have.
    driver_gone_after: Duration = flag(
        Duration(30.0), "how long the driver may be gone before its registration is withdrawn by removing the socket"
    )
    status_directory: str = flag(
        status.DEFAULT_DIRECTORY, "directory of the roles' status sockets; empty turns them off"
    )

    def __post_init__(self) -> None:
        if self.version:
            return
        if not self.kubelet_registration_path:
            raise ConfigurationError(
                "--kubelet-registration-path is required: the driver's socket on the host, for example "
                "/var/lib/kubelet/plugins/csi-secrets-store/csi.sock"
            )
        if self.http_endpoint and self.health_port:
            raise ConfigurationError("only one of --http-endpoint and --health-port can be given")
        if not 0 <= self.health_port <= 65535:
            raise ConfigurationError("--health-port must be a port, 1 to 65535; 0 turns the health server off")
        if not self.plugin_registration_path.startswith("/"):
            raise ConfigurationError("--plugin-registration-path must be an absolute path, for example /registration")
        if self.logging_format not in ("text", "json"):
            raise ConfigurationError("--logging-format must be text or json")
        if self.timeout <= 0 or self.driver_gone_after <= 0:
            raise ConfigurationError("--timeout and --driver-gone-after must be longer than 0, for example 1s")
        parse_csi_address(self.csi_address)
        if self.http_endpoint:
            parse_host_port(self.http_endpoint)

    @property
    def driver(self) -> UnixEndpoint:
        """The driver's socket."""
        return parse_csi_address(self.csi_address)

    @property
    def http(self) -> TcpEndpoint | None:
        """Where the health server listens; None if it is off."""
        if self.http_endpoint:
            return parse_host_port(self.http_endpoint)
        return TcpEndpoint("", self.health_port) if self.health_port else None
