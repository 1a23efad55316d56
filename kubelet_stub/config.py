"""Configuration: each field is a flag of the command, and the defaults are kubelet's."""

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigurationError
from runtime.flags import Duration, flag


@dataclass(frozen=True)
class Config:
    """Validated on construction: an invalid value is a ConfigurationError."""

    root: str = flag("", "directory used as /var/lib/kubelet, created if absent; required")
    plugins_registry: str = flag("", "directory of the registration sockets (default: plugins_registry in the root)")
    pod: tuple[str, ...] = flag(
        (), "YAML files with the pods to run and the Secrets that they reference (comma-separated)"
    )
    node_name: str = flag("stub-node", "name of the node, written to vol_data.json and to tokens")
    republish_interval: Duration = flag(
        Duration(60), "interval between republishes of a mounted volume (CSIDriver requiresRepublish); 0: never"
    )
    stats_interval: Duration = flag(Duration(60), "interval between NodeGetVolumeStats calls for a volume; 0: never")
    plugin_poll_interval: Duration = flag(
        Duration(10), "interval between GetInfo calls to a registered plugin; 0: never"
    )
    publish_timeout: Duration = flag(Duration(120), "deadline of each CSI operation")
    backoff_base: Duration = flag(Duration(0.5), "pause after the first failure; doubles with each further one")
    backoff_cap: Duration = flag(Duration(122), "longest pause after a failure")
    pod_info_on_mount: bool = flag(
        True, "send the pod's name, namespace, uid and service account (CSIDriver podInfoOnMount)"
    )
    token_audiences: tuple[str, ...] = flag(
        (), "audiences of the service account tokens to send (CSIDriver tokenRequests); none: no tokens"
    )
    token_lifetime: Duration = flag(Duration(3600), "lifetime of a token; it is renewed after 80 % of it")
    token_in_secrets: bool = flag(
        False, "send the tokens as secrets, not in the volume context (CSIDriver serviceAccountTokenInSecrets)"
    )
    republish_removes: bool = flag(
        True,
        "after a final error of a republish remove the directory, as kubelet does without the fix of kubernetes#121271",
    )
    refuse_registration: str = flag("", "refuse every registration with this text")
    exit_timeout: Duration = flag(Duration(20), "how long to spend on unpublishing all pods before exiting")
    v: int = flag(0, "log verbosity")
    log_format_json: bool = flag(False, "write logs as JSON lines")
    version: bool = flag(False, "print the version as JSON and exit")

    def __post_init__(self) -> None:
        if not self.root:
            raise ConfigurationError("--root is required: give a directory to use as /var/lib/kubelet")
        if not Path(self.root).is_absolute():
            raise ConfigurationError(
                f"--root must be an absolute path, because the driver receives paths in it: {self.root}"
            )
        if self.backoff_base <= 0 or self.publish_timeout <= 0:
            raise ConfigurationError("--backoff-base and --publish-timeout must be greater than 0")

    @property
    def pods_directory(self) -> Path:
        """Directory of the pods' volumes."""
        return Path(self.root) / "pods"

    @property
    def registry_directory(self) -> Path:
        """Directory of the registration sockets."""
        return Path(self.plugins_registry) if self.plugins_registry else Path(self.root) / "plugins_registry"
