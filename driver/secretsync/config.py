"""The configuration of ``secrets-store-csi-sync``: the official controller's flags, and some of our own."""

import os
import socket
from dataclasses import dataclass

from runtime.endpoints import TcpEndpoint, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import Duration, Ignored, flag

LEASE = "29f1d54e.secret-sync.x-k8s.io"
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
POD_NAME, POD_UID = "SYNC_CONTROLLER_POD_NAME", "SYNC_CONTROLLER_POD_UID"
_ZAP = "logs are written as the driver's: set -v and --log-format-json"
GO_ONLY = (
    Ignored("zap-devel", _ZAP, is_switch=True),
    Ignored("zap-encoder", _ZAP),
    Ignored("zap-log-level", _ZAP),
    Ignored("zap-stacktrace-level", _ZAP),
    Ignored("zap-time-encoding", _ZAP),
)


@dataclass(frozen=True)
class SyncConfig:
    """The settings of one controller; validated when they are created."""

    metrics_bind_address: str = flag(":8085", "address of /metrics; empty or 0 turns it off")
    health_probe_bind_address: str = flag(":8081", "address of /healthz and /readyz; empty or 0 turns it off")
    leader_elect: bool = flag(False, "work only while this replica holds the Lease; needed for more than one replica")
    leader_election_namespace: str = flag("", "namespace of the Lease; without it the pod's own")
    token_request_audience: tuple[str, ...] = flag(
        (), "comma-separated audiences of the service account tokens that providers get"
    )
    provider_volume: str = flag("/provider", "directory of provider sockets")
    rotation_poll_interval: Duration = flag(
        Duration(12 * 3600.0), "interval at which providers are asked for new values; 0s turns that off"
    )
    max_call_recv_msg_size: int = flag(4 * 1024 * 1024, "maximum size of a provider's reply in bytes")
    version: bool = flag(False, "print the version as JSON and exit")
    # Our own.
    kubeconfig: str = flag(
        "", "kubeconfig file; without it $KUBECONFIG, the pod's service account, then ~/.kube/config"
    )
    controller_name: str = flag(
        "", "take care only of SecretSyncs with this spec.secretSyncControllerName; without it of all"
    )
    log_format_json: bool = flag(False, "write logs as JSON lines")
    v: int = flag(0, "log verbosity")

    def __post_init__(self) -> None:
        if self.rotation_poll_interval < 0:
            raise ConfigurationError("--rotation-poll-interval must not be negative; 0s turns it off")
        if self.max_call_recv_msg_size <= 0:
            raise ConfigurationError("--max-call-recv-msg-size must be greater than 0")
        if not all(self.token_request_audience):
            raise ConfigurationError("--token-request-audience must not contain an empty audience")
        if self.leader_elect and not self.lease_namespace:
            raise ConfigurationError("--leader-elect outside a pod needs --leader-election-namespace")
        _ = self.metrics, self.health

    @property
    def metrics(self) -> TcpEndpoint | None:
        """Where /metrics is served; None if it is off."""
        return _endpoint(self.metrics_bind_address)

    @property
    def health(self) -> TcpEndpoint | None:
        """Where /healthz and /readyz are served; None if they are off."""
        return _endpoint(self.health_probe_bind_address)

    @property
    def lease_namespace(self) -> str:
        """The namespace of the Lease; empty if it is not known."""
        if self.leader_election_namespace:
            return self.leader_election_namespace
        try:
            with open(NAMESPACE_FILE, encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    @property
    def pod_name(self) -> str:
        """The controller's own pod, which providers are told, and the replica's name in the Lease."""
        return os.environ.get(POD_NAME) or socket.gethostname()

    @property
    def pod_uid(self) -> str:
        """The UID of that pod; empty outside one."""
        return os.environ.get(POD_UID, "")


def _endpoint(text: str) -> TcpEndpoint | None:
    return None if text in ("", "0") else parse_host_port(text)
