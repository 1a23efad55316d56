"""The probe's configuration: livenessprobe's flags with their names and defaults, and some of our own."""

from dataclasses import dataclass

from runtime import status
from runtime.endpoints import TcpEndpoint, UnixEndpoint, parse_csi_address, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import SIDECAR_GO_ONLY, Duration, flag

DEFAULT_PORT = 9808
DEFAULT_STATUS_ENDPOINT = "127.0.0.1:9809"
GO_ONLY = SIDECAR_GO_ONLY


@dataclass(frozen=True)
class ProbeConfig:
    """The configuration of one probe, validated when it is created."""

    csi_address: str = flag("/run/csi/socket", "the driver's socket")
    probe_timeout: Duration = flag(
        Duration(3.0), "time limit of a health check: connecting to the driver and calling Probe"
    )
    http_endpoint: str = flag("", "address of the HTTP server")
    health_port: int = flag(DEFAULT_PORT, "port of /healthz on all addresses", deprecated="use --http-endpoint")
    metrics_address: str = flag("", "address of a separate metrics server", deprecated="use --http-endpoint")
    metrics_path: str = flag("/metrics", "path of the metrics")
    logging_format: str = flag("text", "text or json")
    v: int = flag(0, "log verbosity")
    version: bool = flag(False, "print the version and exit")
    # Flags that livenessprobe does not have.
    refuse_before_first_answer: bool = flag(
        False, "refuse connections until the driver has answered once, as livenessprobe does"
    )
    status_directory: str = flag(
        status.DEFAULT_DIRECTORY, "directory of the roles' status sockets; empty: their status is not read"
    )
    status_endpoint: str = flag(
        DEFAULT_STATUS_ENDPOINT,
        "address of /status and the status page, which name the pods of all tenants; that of the health checks serves "
        "them to everybody; empty turns them off",
    )

    def __post_init__(self) -> None:
        if self.http_endpoint and self.health_port != DEFAULT_PORT:
            raise ConfigurationError("only one of --http-endpoint and --health-port can be given")
        if self.http_endpoint and self.metrics_address:
            raise ConfigurationError("only one of --http-endpoint and --metrics-address can be given")
        if not 1 <= self.health_port <= 65535:
            raise ConfigurationError("--health-port must be a port, 1 to 65535")
        if self.logging_format not in ("text", "json"):
            raise ConfigurationError("--logging-format must be text or json")
        if self.probe_timeout <= 0:
            raise ConfigurationError("--probe-timeout must be longer than 0, for example 3s")
        if not self.metrics_path.startswith("/"):
            raise ConfigurationError("--metrics-path must begin with /")
        parse_csi_address(self.csi_address)
        if self.http_endpoint:
            parse_host_port(self.http_endpoint)
        if self.metrics_address:
            parse_host_port(self.metrics_address)
        if self.status_endpoint:
            parse_host_port(self.status_endpoint)

    @property
    def driver(self) -> UnixEndpoint:
        """The driver's socket."""
        return parse_csi_address(self.csi_address)

    @property
    def http(self) -> TcpEndpoint:
        """Where /healthz is served."""
        return parse_host_port(self.http_endpoint) if self.http_endpoint else TcpEndpoint("0.0.0.0", self.health_port)

    @property
    def metrics(self) -> TcpEndpoint | None:
        """Where the separate metrics server listens; None if there is none."""
        return parse_host_port(self.metrics_address) if self.metrics_address else None

    @property
    def status_pages(self) -> TcpEndpoint | None:
        """Where a separate server serves /status and the status page; None if they are off, or served with /healthz."""
        pages = parse_host_port(self.status_endpoint) if self.status_endpoint else None
        return None if pages is None or pages.is_same(self.http) else pages

    @property
    def status_pages_are_open(self) -> bool:
        """Whether /status and the status page are served with /healthz."""
        return bool(self.status_endpoint) and self.status_pages is None
