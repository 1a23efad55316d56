"""The driver's configuration: the Go driver's flags under their names and defaults, and ours."""

import os
from dataclasses import dataclass

from runtime import status
from runtime.endpoints import Endpoint, TcpEndpoint, UnixEndpoint, parse_endpoint, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import Duration, Ignored, flag

LARGEST_DRIVER_NAME = 63

_NO_PROFILER = "Go's profiler is not part of a Python process; use py-spy"
_KLOG_FILES = "logs go to stderr"
GO_ONLY = (
    Ignored("enable-pprof", _NO_PROFILER, is_switch=True),
    Ignored("pprof-port", _NO_PROFILER),
    Ignored("vmodule", "verbosity is set for the whole process with -v"),
    Ignored("logtostderr", _KLOG_FILES, is_switch=True),
    Ignored("alsologtostderr", _KLOG_FILES, is_switch=True),
    Ignored("stderrthreshold", _KLOG_FILES),
    Ignored("log_dir", _KLOG_FILES),
    Ignored("log_file", _KLOG_FILES),
    Ignored("log_file_max_size", _KLOG_FILES),
    Ignored("log_backtrace_at", "a bug is always logged with its stack"),
    Ignored("add_dir_header", "file names are unique enough"),
    Ignored("skip_headers", "every line keeps its header", is_switch=True),
    Ignored("skip_log_headers", _KLOG_FILES, is_switch=True),
    Ignored("one_output", _KLOG_FILES, is_switch=True),
)


@dataclass(frozen=True)
class DriverConfig:
    """How one driver runs; built once, before anything else, and never changed."""

    endpoint: str = flag("unix://tmp/csi.sock", "CSI listen address")
    drivername: str = flag("secrets-store.csi.k8s.io", "name of the driver, as kubelet and CSIDriver know it")
    nodeid: str = flag("", "name of the node this driver runs on")
    log_format_json: bool = flag(False, "write logs as JSON lines")
    v: int = flag(0, "log verbosity; 5 logs every call")
    provider_volume: str = flag("/var/run/secrets-store-csi-providers", "directory of provider sockets, searched last")
    additional_provider_volume_paths: tuple[str, ...] = flag(
        ("/etc/kubernetes/secrets-store-csi-providers",),
        "directories of provider sockets, comma separated, searched first and in order",
    )
    metrics_addr: str = flag(":8095", "address of /metrics; empty turns it off")
    metrics_backend: str = flag("Prometheus", "metrics backend; Prometheus is the only one")
    enable_secret_rotation: bool = flag(False, "fetch secrets again when kubelet republishes a volume that is due")
    rotation_poll_interval: Duration = flag(
        Duration(120.0), "how old a volume's content may grow before a republish fetches it again"
    )
    max_call_recv_msg_size: int = flag(4 * 1024 * 1024, "largest provider reply in bytes")
    version: bool = flag(False, "print the version as JSON and exit")
    provider_health_check: bool = flag(False, "ask the providers in use for their version at an interval")
    provider_health_check_interval: Duration = flag(Duration(120.0), "interval of the provider health check")
    kubeconfig: str = flag(
        "", "kubeconfig file; without it $KUBECONFIG, the pod's service account, then ~/.kube/config"
    )
    # Ours.
    manifests: str = flag(
        "",
        "directory of SecretProviderClass YAML files to use in place of an API server; pod status is kept there too",
    )
    kubelet_pods_dir: str = flag(
        "", "kubelet's pods directory: targets outside it are refused; empty checks their shape only"
    )
    tmpfs_size: int = flag(
        -1, "size limit of a volume in bytes; -1 is four times the largest provider reply, 0 the kernel's default"
    )
    apply_volume_mount_group: bool = flag(True, "offer VOLUME_MOUNT_GROUP, so that a pod's fsGroup may read its files")
    volume_condition: bool = flag(
        False, "report volume conditions with the volume's statistics; kubelet makes an event of each"
    )
    volume_attributes_override: bool = flag(
        False, "let a pod's volumeAttributes override the class's parameters, as the Go driver does"
    )
    sync_secrets: bool = flag(True, "write the Secrets that classes ask for in secretObjects")
    remove_startup_taint: bool = flag(False, "remove the node's startup taint once CSINode lists the driver")
    startup_taint: str = flag("secrets-store.csi.k8s.io/agent-not-ready", "key of the startup taint (effect NoExecute)")
    status_directory: str = flag(
        status.DEFAULT_DIRECTORY, "directory of the roles' status sockets; empty turns them off"
    )

    def __post_init__(self) -> None:
        if self.metrics_backend.lower() != "prometheus":
            raise ConfigurationError(f"unsupported metrics backend {self.metrics_backend}")
        if not 0 < len(self.drivername) <= LARGEST_DRIVER_NAME:
            raise ConfigurationError(f"--drivername must have 1 to {LARGEST_DRIVER_NAME} characters")
        if self.rotation_poll_interval <= 0:
            raise ConfigurationError("--rotation-poll-interval must be longer than 0, for example 2m")
        if self.provider_health_check_interval <= 0:
            raise ConfigurationError("--provider-health-check-interval must be longer than 0, for example 2m")
        if self.max_call_recv_msg_size <= 0:
            raise ConfigurationError("--max-call-recv-msg-size must be a number of bytes above 0")
        if self.tmpfs_size < -1:
            raise ConfigurationError("--tmpfs-size must be a number of bytes, 0 for the kernel's default, or -1")
        if self.kubelet_pods_dir and not self.kubelet_pods_dir.startswith("/"):
            raise ConfigurationError("--kubelet-pods-dir must be an absolute path, for example /var/lib/kubelet/pods")
        parse_endpoint(self.endpoint)
        if self.metrics_addr:
            parse_host_port(self.metrics_addr)

    @property
    def listen(self) -> Endpoint:
        """Where CSI is served."""
        return parse_endpoint(self.endpoint)

    @property
    def metrics(self) -> TcpEndpoint | None:
        """Where /metrics is served, if it is."""
        return parse_host_port(self.metrics_addr) if self.metrics_addr else None

    @property
    def volume_size(self) -> int | None:
        """The tmpfs ``size=`` in bytes; None leaves it to the kernel (half of the memory)."""
        if self.tmpfs_size == -1:
            return 4 * self.max_call_recv_msg_size
        return self.tmpfs_size or None

    @property
    def provider_directories(self) -> tuple[str, ...]:
        """Where provider sockets are looked for, first hit wins."""
        return (*self.additional_provider_volume_paths, self.provider_volume)

    @property
    def host_directories(self) -> tuple[str, ...]:
        """What the container gets from its node to meet others at sockets: kubelet at ours, us at the providers'."""
        listen = self.listen
        own = (os.path.dirname(listen.path),) if isinstance(listen, UnixEndpoint) else ()
        return (*own, *self.provider_directories)
