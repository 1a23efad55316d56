"""The driver's configuration: the Go driver's flags with their names and defaults, and further ones of our own."""

import os
import re
from dataclasses import dataclass

from driver import limits
from runtime import status
from runtime.endpoints import Endpoint, TcpEndpoint, UnixEndpoint, parse_endpoint, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import Duration, Ignored, flag

MAX_DRIVER_NAME = 63
PROVIDER_NAME = r"[a-zA-Z0-9_-]{1,30}"
PROVIDER_NAME_RULE = "a provider's name has 1 to 30 letters, digits, - and _"

_NO_PROFILER = "a Python process has no Go profiler; use py-spy"
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
    Ignored("log_backtrace_at", "bugs are always logged with their stack"),
    Ignored("add_dir_header", "file names are unique enough"),
    Ignored("skip_headers", "every line keeps its header", is_switch=True),
    Ignored("skip_log_headers", _KLOG_FILES, is_switch=True),
    Ignored("one_output", _KLOG_FILES, is_switch=True),
)


@dataclass(frozen=True)
class DriverConfig:
    """The settings of one driver; built first, validated, and immutable."""

    endpoint: str = flag("unix://tmp/csi.sock", "CSI listen address")
    drivername: str = flag("secrets-store.csi.k8s.io", "name of the driver in kubelet and in the CSIDriver object")
    nodeid: str = flag("", "name of the node this driver runs on")
    log_format_json: bool = flag(False, "write logs as JSON lines")
    v: int = flag(0, "log verbosity; 5 logs every call")
    provider_volume: str = flag("/var/run/secrets-store-csi-providers", "directory of provider sockets, searched last")
    additional_provider_volume_paths: tuple[str, ...] = flag(
        ("/etc/kubernetes/secrets-store-csi-providers",),
        "comma-separated directories of provider sockets, searched in this order before --provider-volume",
    )
    metrics_addr: str = flag(":8095", "address of /metrics; empty turns it off")
    metrics_backend: str = flag("Prometheus", "metrics backend; Prometheus is the only one")
    enable_secret_rotation: bool = flag(False, "refresh a volume when kubelet republishes it and it is due")
    rotation_poll_interval: Duration = flag(Duration(120.0), "time after which a volume is due for a refresh")
    max_call_recv_msg_size: int = flag(4 * 1024 * 1024, "maximum size of a provider's reply in bytes")
    version: bool = flag(False, "print the version as JSON and exit")
    provider_health_check: bool = flag(False, "check the health of the providers in use periodically")
    provider_health_check_interval: Duration = flag(Duration(120.0), "interval of the provider health check")
    kubeconfig: str = flag(
        "", "kubeconfig file; without it $KUBECONFIG, the pod's service account, then ~/.kube/config"
    )
    # Our own.
    rotation_jitter_percent: int = flag(
        10,
        "by how many percent of the interval a refresh is earlier or later, so that pods that started together do not "
        "refresh together; 0 as in the Go driver",
    )
    manifests: str = flag(
        "",
        "directory of SecretProviderClass YAML files, instead of an API server; pod statuses are written there too",
    )
    kubelet_pods_dir: str = flag(
        "", "kubelet's pods directory; target paths outside it are rejected. If empty, only their form is checked"
    )
    tmpfs_size: int = flag(
        -1, "size limit of a volume in bytes; -1 means four times the maximum reply size, 0 the kernel's default"
    )
    tmpfs_noexec: bool = flag(
        True, "mount volumes noexec: their files cannot be run as programs; false as in the Go driver"
    )
    max_volume_entries: int = flag(limits.MAX_VOLUME_ENTRIES, "maximum number of files and directories in a volume")
    memory_headroom: int = flag(
        -1,
        "bytes of the container's memory limit that volumes leave free: what does not fit is refused; -1 means a tenth "
        "of the limit, 0 that nothing is refused",
    )
    apply_volume_mount_group: bool = flag(True, "offer VOLUME_MOUNT_GROUP, which lets a pod's fsGroup read the files")
    restrict_privileges: bool = flag(
        True,
        "give up what a role does not need: capabilities, core dumps, ptrace, system calls; false only for debugging",
    )
    volume_metrics: bool = flag(
        True,
        "name namespace, pod and volume in the metrics of volumes; false leaves the worst figure of each provider",
    )
    volume_condition: bool = flag(
        False, "report a volume's condition with its statistics; kubelet turns abnormal ones into events"
    )
    accept_context_tokens: bool = flag(
        True,
        "pass on service account tokens in the volume context; false where the CSIDriver object has no tokenRequests, "
        "because then they are the pod author's",
    )
    volume_attributes_override: bool = flag(
        False, "let a pod's volumeAttributes override the parameters of the class, as in the Go driver"
    )
    adopt_secrets: bool = flag(
        False,
        "write to Secrets that others created, as the Go driver does; otherwise only if the Secret has the annotation "
        'secrets-store.csi.k8s.io/adopt: "true"',
    )
    max_secret_objects: int = flag(limits.MAX_SECRET_OBJECTS, "maximum number of Secrets that one class may ask for")
    read_secrets_by_patch: bool = flag(
        False,
        "read Secrets by a patch that changes nothing: it needs no right to get, and admission policies limit it",
    )
    restart_on_rotation: bool = flag(
        False,
        "restart the Deployment, StatefulSet or DaemonSet of a pod whose volume has new content, where the class has "
        'the annotation secrets-store.csi.k8s.io/restart-on-rotation: "true"',
    )
    sync_secrets: bool = flag(True, "sync Kubernetes Secrets as the classes' secretObjects say")
    remove_startup_taint: bool = flag(False, "remove the node's startup taint when CSINode lists the driver")
    startup_taint: str = flag("secrets-store.csi.k8s.io/agent-not-ready", "key of the startup taint (effect NoExecute)")
    startup_taint_providers: tuple[str, ...] = flag(
        (), "comma-separated names of providers that must answer before the startup taint is removed"
    )
    status_directory: str = flag(status.DEFAULT_DIRECTORY, "directory of the status sockets; empty turns them off")

    def __post_init__(self) -> None:
        if self.metrics_backend.lower() != "prometheus":
            raise ConfigurationError(f"unsupported metrics backend {self.metrics_backend}")
        if not 0 < len(self.drivername) <= MAX_DRIVER_NAME:
            raise ConfigurationError(f"--drivername must have 1 to {MAX_DRIVER_NAME} characters")
        if self.rotation_poll_interval <= 0:
            raise ConfigurationError("--rotation-poll-interval must be longer than 0, for example 2m")
        if not 0 <= self.rotation_jitter_percent <= 50:
            raise ConfigurationError("--rotation-jitter-percent must be a number from 0 to 50")
        if self.provider_health_check_interval <= 0:
            raise ConfigurationError("--provider-health-check-interval must be longer than 0, for example 2m")
        if self.max_call_recv_msg_size <= 0:
            raise ConfigurationError("--max-call-recv-msg-size must be a number of bytes above 0")
        if self.tmpfs_size < -1:
            raise ConfigurationError("--tmpfs-size must be a number of bytes, 0 for the kernel's default, or -1")
        if not 0 < self.max_volume_entries <= limits.MAX_FLAG_VOLUME_ENTRIES:
            raise ConfigurationError(
                f"--max-volume-entries must be a number from 1 to {limits.MAX_FLAG_VOLUME_ENTRIES}"
            )
        if self.max_secret_objects <= 0:
            raise ConfigurationError("--max-secret-objects must be a number above 0")
        if self.memory_headroom < -1:
            raise ConfigurationError("--memory-headroom must be a number of bytes, 0 to refuse nothing, or -1")
        if self.kubelet_pods_dir and not self.kubelet_pods_dir.startswith("/"):
            raise ConfigurationError("--kubelet-pods-dir must be an absolute path, for example /var/lib/kubelet/pods")
        for name in self.startup_taint_providers:
            if not re.fullmatch(PROVIDER_NAME, name):
                raise ConfigurationError(f"--startup-taint-providers={name}: {PROVIDER_NAME_RULE}")
        parse_endpoint(self.endpoint)
        if self.metrics_addr:
            parse_host_port(self.metrics_addr)

    @property
    def listen(self) -> Endpoint:
        """The endpoint of the CSI services."""
        return parse_endpoint(self.endpoint)

    @property
    def metrics(self) -> TcpEndpoint | None:
        """The endpoint of /metrics; None if it is turned off."""
        return parse_host_port(self.metrics_addr) if self.metrics_addr else None

    @property
    def largest_reply(self) -> int:
        """The maximum size of a provider's reply in bytes: a larger one than gRPC allows means no limit of ours."""
        return min(self.max_call_recv_msg_size, limits.MAX_MESSAGE_BYTES)

    @property
    def volume_size(self) -> int | None:
        """The size limit of a volume in bytes; None means the kernel's default, half of the memory."""
        if self.tmpfs_size == -1:
            return 4 * self.largest_reply
        return self.tmpfs_size or None

    @property
    def volume_inodes(self) -> int:
        """The limit of inodes of a volume's tmpfs."""
        return limits.INODES_PER_ENTRY * self.max_volume_entries + limits.SPARE_INODES

    @property
    def provider_directories(self) -> tuple[str, ...]:
        """The directories of provider sockets, in the order in which they are searched."""
        return (*self.additional_provider_volume_paths, self.provider_volume)

    @property
    def host_directories(self) -> tuple[str, ...]:
        """The hostPath directories with sockets: that of our own, for kubelet, and those of the providers'."""
        listen = self.listen
        own = (os.path.dirname(listen.path),) if isinstance(listen, UnixEndpoint) else ()
        return (*own, *self.provider_directories)
