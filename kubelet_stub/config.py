"""What the stub can be told; each field is a flag of the command, with kubelet's own number as its default."""

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigurationError
from runtime.flags import Duration, flag


@dataclass(frozen=True)
class Config:
    """Checked where it is built: a wrong value is a ConfigurationError."""

    root: str = flag("", "directory that plays /var/lib/kubelet; made if absent, required")
    plugins_registry: str = flag("", "directory of the registration sockets (default: plugins_registry below the root)")
    pod: tuple[str, ...] = flag(
        (), "YAML files with the pods to run, and the Secrets that their nodePublishSecretRef names (comma list)"
    )
    node_name: str = flag("stub-node", "name of the node, told in vol_data.json and in tokens")
    republish_interval: Duration = flag(
        Duration(60), "how often mounted volumes are published again (CSIDriver requiresRepublish); 0 for never"
    )
    stats_interval: Duration = flag(Duration(60), "how often NodeGetVolumeStats is called for each volume; 0 for never")
    plugin_poll_interval: Duration = flag(
        Duration(10), "how often GetInfo is asked again after registration; 0 for never"
    )
    publish_timeout: Duration = flag(Duration(120), "deadline of each CSI operation")
    backoff_base: Duration = flag(Duration(0.5), "first pause after a failure; doubles with each one")
    backoff_cap: Duration = flag(Duration(122), "longest pause after a failure")
    pod_info_on_mount: bool = flag(
        True, "send the pod's name, namespace, uid and service account (CSIDriver podInfoOnMount)"
    )
    token_audiences: tuple[str, ...] = flag(
        (), "audiences of the service account tokens sent (CSIDriver tokenRequests); none: no tokens"
    )
    token_lifetime: Duration = flag(Duration(3600), "how long a token is valid; it is renewed after four fifths of it")
    token_in_secrets: bool = flag(
        False, "send tokens in the secrets, not in the volume context (CSIDriver serviceAccountTokenInSecrets)"
    )
    republish_removes: bool = flag(
        True,
        "after a final error of a republish remove the directory, as kubelets without the fix of kubernetes#121271 do",
    )
    refuse_registration: str = flag("", "refuse every registration with this text")
    exit_timeout: Duration = flag(Duration(20), "how long the command may take to unpublish its pods at its end")
    v: int = flag(0, "log verbosity")
    log_format_json: bool = flag(False, "log one JSON object a line")
    version: bool = flag(False, "print the version and exit")

    def __post_init__(self) -> None:
        if not self.root:
            raise ConfigurationError("--root is required: give a directory that may play /var/lib/kubelet")
        if not Path(self.root).is_absolute():
            raise ConfigurationError(
                f"--root must be an absolute path, because the driver gets paths below it: {self.root}"
            )
        if self.backoff_base <= 0 or self.publish_timeout <= 0:
            raise ConfigurationError("--backoff-base and --publish-timeout must be longer than nothing")

    @property
    def pods_directory(self) -> Path:
        """Where the pods' volumes live."""
        return Path(self.root) / "pods"

    @property
    def registry_directory(self) -> Path:
        """Where plugins put their registration sockets."""
        return Path(self.plugins_registry) if self.plugins_registry else Path(self.root) / "plugins_registry"
