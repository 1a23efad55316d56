"""One real node: containerd, kube-scheduler and kubelet beside a control plane, in the test run's own mount and
network namespaces."""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import yaml

from driver.volume import mountinfo
from tests.cluster import build, kubeconfig
from tests.cluster.api import Object
from tests.cluster.commands import Settings
from tests.cluster.processes import Process
from tests.cluster.servers import ControlPlane
from tests.kubelet import host, images, private
from tests.support.waiting import wait_until

NAME = "node-1"
KUBELET_DIR = Path("/var/lib/kubelet")
NETWORK_NAMESPACES = Path("/run/netns")

_CONTAINERD = """version = 2
root = "{home}/root"
state = "{home}/state"
[grpc]
  address = "{home}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
"""
_CNI = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": host.POD_NETWORK}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
    ],
}


class Node:
    """The servers of one node. Start and stop it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubelet_dir = KUBELET_DIR
        (directory / "control").mkdir()
        host.enter_network()  # addresses are chosen below
        self.cluster = ControlPlane(
            directory / "control",
            Settings(
                address=host.ADDRESS,
                names=("localhost", "kubernetes.default.svc", host.SERVICE, "127.0.0.1"),
                authorization="Node,RBAC",
                controllers=("*",),
                api_flags=(
                    "--kubelet-preferred-address-types=InternalIP",
                    f"--kubelet-client-certificate={directory}/api.crt",
                    f"--kubelet-client-key={directory}/api.key",
                ),
            ),
        )
        identity = self.cluster.authority.client("kube-apiserver", ["system:masters"])
        (directory / "api.crt").write_bytes(identity.certificate)
        (directory / "api.key").write_bytes(identity.key)
        home = directory / "containerd"
        self._ctr = ["ctr", "--address", f"{home}/containerd.sock", "--namespace", "k8s.io"]
        self.containerd = Process(
            "containerd", ["containerd", "--config", f"{home}/config.toml"], directory / "containerd.log"
        )
        self.scheduler = Process("kube-scheduler", self._scheduler(), directory / "scheduler.log")
        self.kubelet = Process("kubelet", self._kubelet(home), directory / "kubelet.log")

    def __enter__(self) -> "Node":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the node is ready."""
        self._prepare_containerd()
        self.cluster.start()
        host.route_service(urlsplit(self.cluster.url).port or 443)
        private.share(self.kubelet_dir)
        self.containerd.start()
        wait_until(lambda: self._answers([*self._ctr, "version"]), "containerd to answer", 30)
        for archive in (images.pause(self.directory), images.busybox(self.directory)):
            self.import_image(archive)
        self.scheduler.start()
        self.kubelet.start()
        self.wait_ready()

    def stop(self) -> None:
        """End all processes by their recorded pids and unmount what kubelet and containerd left."""
        self.power_off()
        self.scheduler.kill()
        self.cluster.stop()
        for point in private.mount_points(self.directory, self.kubelet_dir, NETWORK_NAMESPACES):
            private.unmount(point)
        private.remove_cgroups()

    def power_off(self) -> None:
        """As if the plug were pulled: all processes of the node and its pods end, all mounts are gone; sockets stay as
        files."""
        self.kubelet.kill()
        self.containerd.kill()
        processes = [process for shim in self._shims() for process in (*_children(shim), psutil.Process(shim))]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        for point in private.mount_points(self.kubelet_dir / "pods", self.directory / "containerd"):
            private.unmount(point)

    def power_on(self) -> None:
        """Start containerd and kubelet on what is on disk."""
        self.containerd.start()
        wait_until(lambda: self._answers([*self._ctr, "version"]), "containerd to answer", 30)
        self.kubelet.start()
        self.wait_ready()

    def restart_kubelet(self) -> None:
        """Kill kubelet, start it again and wait until the node is ready."""
        self.kubelet.kill()
        self.kubelet.start()
        self.wait_ready()

    def import_image(self, archive: Path) -> None:
        """Import an image archive into containerd."""
        done = subprocess.run(
            [*self._ctr, "images", "import", str(archive)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def wait_ready(self) -> None:
        """Wait until the API server reports the node ready."""

        def ready() -> bool:
            self.kubelet.check()
            found = self.cluster.api.find(f"/api/v1/nodes/{NAME}")
            conditions = (found or {}).get("status", {}).get("conditions", [])
            return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

        wait_until(ready, "the node to be ready", 60)

    def mounts(self) -> dict[str, str]:
        """The CSI volumes in the node's mount table: mount point to mount id, which differs after a remount."""
        return {
            entry.path: entry.mount_id
            for entry in mountinfo.read()
            if entry.path.startswith(f"{self.kubelet_dir}/pods/") and "kubernetes.io~csi" in entry.path
        }

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition; an error shows the cluster's pods and events and kubelet's log."""
        try:
            wait_until(condition, what, seconds, pause=0.05)
        except TimeoutError as error:
            state = self.cluster.kubectl("get", "pods,events", "--all-namespaces", "-o", "wide")
            raise TimeoutError(f"{error}\n{state}\n{self.kubelet.tail()}") from None

    def apply(self, *documents: Object) -> None:
        """Create or change objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(yaml.safe_dump(item) for item in documents))

    def _shims(self) -> list[int]:
        """The pids of containerd's shims, which outlive it on purpose; their arguments contain our directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"containerd-shim" in command and os.fsencode(self.directory) in command:
                    found.append(int(entry.name))
        return found

    def _prepare_containerd(self) -> None:
        home = self.directory / "containerd"
        (home / "cni").mkdir(parents=True)
        (home / "config.toml").write_text(_CONTAINERD.format(home=home, pause=images.PAUSE))
        (home / "cni" / "10-pods.conflist").write_text(json.dumps(_CNI))

    def _scheduler(self) -> list[str]:
        path = self.directory / "scheduler.kubeconfig"
        identity = self.cluster.authority.client("system:kube-scheduler", ["system:masters"])
        kubeconfig.write(path, self.cluster.url, self.cluster.ca, identity)
        return [
            str(build.path("kube-scheduler")),
            f"--kubeconfig={path}",
            f"--authentication-kubeconfig={path}",
            f"--authorization-kubeconfig={path}",
            "--leader-elect=false",
            f"--bind-address={host.ADDRESS}",
            f"--cert-dir={self.directory}/scheduler",
        ]

    def _kubelet(self, home: Path) -> list[str]:
        identity = self.cluster.authority.client(f"system:node:{NAME}", ["system:nodes"])
        kubeconfig.write(self.directory / "kubelet.kubeconfig", self.cluster.url, self.cluster.ca, identity)
        (self.directory / "ca.crt").write_bytes(self.cluster.ca)
        (self.directory / "kubelet.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "kind": "KubeletConfiguration",
                    "authentication": {
                        "anonymous": {"enabled": False},
                        "webhook": {"enabled": True},
                        "x509": {"clientCAFile": f"{self.directory}/ca.crt"},
                    },
                    "authorization": {"mode": "Webhook"},
                    "cgroupDriver": "cgroupfs",
                    "failCgroupV1": False,
                    "failSwapOn": False,
                    "enforceNodeAllocatable": [],
                    "syncFrequency": "2s",
                    "containerRuntimeEndpoint": f"unix://{home}/containerd.sock",
                    "resolvConf": "",
                    "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
                    "imageGCHighThresholdPercent": 100,
                    "address": host.ADDRESS,
                    "readOnlyPort": 0,
                    "nodeStatusUpdateFrequency": "5s",
                    "volumePluginDir": f"{self.directory}/volume-plugins",
                    "podLogsDir": f"{self.directory}/pod-logs",
                    "maxPods": 120,  # a full node, and what is left of other tests
                    "cgroupsPerQOS": True,
                    "logging": {"verbosity": 2},
                }
            )
        )
        return [
            str(build.path("kubelet")),
            f"--config={self.directory}/kubelet.yaml",
            f"--root-dir={self.kubelet_dir}",
            f"--kubeconfig={self.directory}/kubelet.kubeconfig",
            f"--hostname-override={NAME}",
            f"--node-ip={host.ADDRESS}",
            f"--cert-dir={self.directory}/kubelet-pki",
        ]

    def _answers(self, command: list[str]) -> bool:
        self.containerd.check()
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


def _children(pid: int) -> list[psutil.Process]:
    """The descendants of a process that are still alive."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []
