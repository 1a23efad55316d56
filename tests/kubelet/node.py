"""One real node: containerd, kube-scheduler and kubelet beside a control plane, in the test run's own mount and
network namespaces."""

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.cluster import build, kubeconfig
from tests.cluster.api import Object, wait
from tests.cluster.commands import Settings
from tests.cluster.processes import Process
from tests.cluster.servers import ControlPlane
from tests.kubelet import host, images

NAME = "node-1"
_MS_BIND, _MS_REC, _MS_SHARED = 4096, 0x4000, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

_CONTAINERD = """version = 2
root = "{home}/root"
state = "{home}/state"
[grpc]
  address = "{home}/containerd.sock"
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
    "cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": host.POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    ],
}


class Node:
    """The servers of one node. Start and stop it as a context manager."""

    def __init__(self, directory: Path, kubelet_dir: Path) -> None:
        self.directory = directory
        self.kubelet_dir = kubelet_dir
        (directory / "control").mkdir()
        host.enter_network()  # addresses are chosen below
        self.cluster = ControlPlane(directory / "control", Settings(
            address=host.ADDRESS, names=("localhost", "kubernetes.default.svc", host.SERVICE, "127.0.0.1"),
            authorization="Node,RBAC", controllers=("*",),
            api_flags=(
                "--kubelet-preferred-address-types=InternalIP", f"--kubelet-client-certificate={directory}/api.crt",
                f"--kubelet-client-key={directory}/api.key")))
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
        """Everything up, and the node ready."""
        self._prepare_containerd()
        self.cluster.start()
        host.route_service(urlsplit(self.cluster.url).port or 443)
        self._mount_shared(self.kubelet_dir)
        self.containerd.start()
        wait(lambda: self._answers([*self._ctr, "version"]), "containerd", 30)
        for archive in (images.pause(self.directory), images.busybox(self.directory)):
            self.import_image(archive)
        self.scheduler.start()
        self.kubelet.start()
        self.wait_ready()

    def stop(self) -> None:
        """Everything down, by recorded pids; what kubelet and containerd left mounted is detached."""
        for process in (self.kubelet, self.scheduler):
            process.kill()
        for shim in self._shims():
            os.kill(shim, 9)
        self.containerd.kill()
        self.cluster.stop()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            point = line.split(" ")[4]
            if point.startswith((str(self.directory), str(self.kubelet_dir), "/run/netns", "/var/run/netns")):
                _libc.umount2(os.fsencode(point), _MNT_DETACH)
        shutil.rmtree(self.kubelet_dir, ignore_errors=True)

    def import_image(self, archive: Path) -> None:
        """Make an image known to the node."""
        done = subprocess.run(
            [*self._ctr, "images", "import", str(archive)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def wait_ready(self) -> None:
        """Until the API server calls the node ready."""
        def ready() -> bool:
            self.kubelet.check()
            found = self.cluster.api.find(f"/api/v1/nodes/{NAME}")
            conditions = (found or {}).get("status", {}).get("conditions", [])
            return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

        wait(ready, "the node to be ready", 60)

    def mounts(self) -> list[str]:
        """Where kubelet's volumes are mounted now, in the node's own table."""
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split(" ")[4] for line in table]
        return [
            point for point in points if point.startswith(f"{self.kubelet_dir}/pods/") and "kubernetes.io~csi" in point
        ]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for something in the cluster; the names of what runs help to find out why it did not come."""
        try:
            wait(condition, what, seconds)
        except TimeoutError as error:
            told = self.cluster.kubectl("get", "pods,events", "--all-namespaces", "-o", "wide")
            raise TimeoutError(f"{error}\n{told}\n{self.kubelet.tail()}") from None

    def apply(self, *documents: Object) -> None:
        """Create or change objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(yaml.safe_dump(item) for item in documents))

    def _shims(self) -> list[int]:
        """containerd's shims outlive it on purpose; they are told by our socket's path in their arguments."""
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
            str(build.path("kube-scheduler")), f"--kubeconfig={path}", f"--authentication-kubeconfig={path}",
            f"--authorization-kubeconfig={path}", "--leader-elect=false", f"--bind-address={host.ADDRESS}",
            f"--cert-dir={self.directory}/scheduler"]

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
                    "maxPods": 60,
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

    def _mount_shared(self, path: Path) -> None:
        """Bidirectional mounts need a shared mount to travel on."""
        path.mkdir(parents=True, exist_ok=True)
        name = os.fsencode(path)
        for source, flags in ((name, _MS_BIND), (None, _MS_REC | _MS_SHARED)):
            if _libc.mount(source, name, None, flags, None) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))

    def _answers(self, command: list[str]) -> bool:
        self.containerd.check()
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
