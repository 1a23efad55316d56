"""The driver's flags: the Go driver's names and defaults are pinned, and values are validated."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from driver.config import GO_ONLY, DriverConfig
from driver.main import main
from runtime.errors import ConfigurationError
from runtime.flags import flags_of, format_value
from tests.support.rig import rig

OF_THE_GO_DRIVER = {
    "endpoint": "unix://tmp/csi.sock",
    "drivername": "secrets-store.csi.k8s.io",
    "nodeid": '""',
    "log-format-json": "false",
    "provider-volume": "/var/run/secrets-store-csi-providers",
    "additional-provider-volume-paths": "/etc/kubernetes/secrets-store-csi-providers",
    "metrics-addr": ":8095",
    "metrics-backend": "Prometheus",
    "enable-secret-rotation": "false",
    "rotation-poll-interval": "2m",
    "max-call-recv-msg-size": "4194304",
    "version": "false",
    "provider-health-check": "false",
    "provider-health-check-interval": "2m",
    "kubeconfig": '""',
    "v": "0",
}
OURS = {
    "manifests",
    "kubelet-pods-dir",
    "rotation-jitter-percent",
    "tmpfs-noexec",
    "tmpfs-size",
    "max-secret-objects",
    "max-volume-entries",
    "memory-headroom",
    "apply-volume-mount-group",
    "volume-condition",
    "volume-metrics",
    "volume-attributes-override",
    "accept-context-tokens",
    "adopt-secrets",
    "sync-secrets",
    "read-secrets-by-patch",
    "remove-startup-taint",
    "restart-on-rotation",
    "restrict-privileges",
    "startup-taint",
    "startup-taint-providers",
    "status-directory",
}
WITHOUT_EFFECT = {
    "enable-pprof",
    "pprof-port",
    "vmodule",
    "logtostderr",
    "alsologtostderr",
    "stderrthreshold",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "log_backtrace_at",
    "add_dir_header",
    "skip_headers",
    "skip_log_headers",
    "one_output",
}


def test_flags_and_defaults() -> None:
    """Every flag of the Go driver exists with its default; the others are known as our own, or have no effect."""
    flags = {item.name: format_value(item.default) for item in flags_of(DriverConfig)}
    assert {name: flags[name] for name in OF_THE_GO_DRIVER} == OF_THE_GO_DRIVER
    assert set(flags) - set(OF_THE_GO_DRIVER) == OURS
    assert {item.name for item in GO_ONLY} == WITHOUT_EFFECT


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"metrics_backend": "statsd"}, "unsupported metrics backend statsd"),
        ({"drivername": ""}, "--drivername"),
        ({"drivername": "x" * 64}, "--drivername"),
        ({"rotation_poll_interval": 0.0}, "--rotation-poll-interval"),
        ({"provider_health_check_interval": -1.0}, "--provider-health-check-interval"),
        ({"max_call_recv_msg_size": 0}, "--max-call-recv-msg-size"),
        ({"tmpfs_size": -2}, "--tmpfs-size"),
        ({"memory_headroom": -2}, "--memory-headroom"),
        ({"max_volume_entries": 0}, "--max-volume-entries"),
        ({"max_secret_objects": 0}, "--max-secret-objects"),
        ({"max_volume_entries": 2**62}, "--max-volume-entries"),
        ({"kubelet_pods_dir": "pods"}, "--kubelet-pods-dir"),
        ({"startup_taint_providers": ("vault", "a.sock")}, "--startup-taint-providers=a.sock: a provider's name has"),
        ({"endpoint": "/csi.sock"}, "invalid endpoint: /csi.sock"),
        ({"metrics_addr": "8095"}, "invalid address: 8095"),
    ],
)
def test_invalid_values(values: dict[str, Any], sentence: str) -> None:
    """The error for an invalid value names its flag."""
    with pytest.raises(ConfigurationError, match=sentence):
        DriverConfig(**values)


@pytest.mark.parametrize("size, expected", [(-1, 16 * 1024 * 1024), (0, None), (4096, 4096)])
def test_volume_size(size: int, expected: int | None) -> None:
    """Four times the maximum reply by default; 0 means the kernel's default."""
    assert DriverConfig(tmpfs_size=size).volume_size == expected


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**40, 2**63 - 1])
def test_a_maximum_of_more_bytes_than_grpc_counts(tmp_path: Path, size: int) -> None:
    """--max-call-recv-msg-size is a number that Go accepts, and gRPC's C core counts in 32 bits → the largest that it
    can count, and the size of a volume is one that the kernel understands: a volume is published."""
    assert DriverConfig(max_call_recv_msg_size=size).volume_size == 4 * (2**31 - 1)

    async def run() -> None:
        async with rig(tmp_path, max_call_recv_msg_size=size) as it:
            volume = it.volume()
            await volume.publish()
            assert volume.read() == b"s3cret"

    asyncio.run(run())


def test_additional_directories_come_first() -> None:
    """The search order of provider sockets."""
    config = DriverConfig(additional_provider_volume_paths=("/a", "/b"), provider_volume="/c")
    assert config.provider_directories == ("/a", "/b", "/c")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints one JSON line with the Go driver's keys in its order."""
    assert main(["--version"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["BuildVersion", "GitCommit", "BuildDate"]


@pytest.mark.parametrize(
    "argv, code, sentence",
    [
        (["--filtered-watch-secret=true"], 2, "flag provided but not defined: -filtered-watch-secret"),
        (["--metrics-backend=statsd"], 1, "unsupported metrics backend statsd"),
        (["--manifests=/nowhere", "--metrics-addr="], 1, "--manifests"),
    ],
)
def test_exit_codes(argv: list[str], code: int, sentence: str) -> None:
    """An invalid command line gives one sentence and exit code 2 for its syntax, 1 for its values."""
    done = subprocess.run([sys.executable, "-m", "driver.main", *argv], capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert sentence in done.stderr and "Traceback" not in done.stderr
