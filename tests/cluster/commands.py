"""The servers' command lines and files."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import build, kubeconfig
from tests.cluster.audit import POLICY
from tests.cluster.pki import Authority, signing_key
from tests.support.ports import free_ports

# Those for owners, service accounts and the chart's roles; not those for nodes: there is no node here, and they would
# delete its pods.
CONTROLLERS = (
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "replicaset-controller",
    "deployment-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
)
ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Settings:
    """How a control plane is started; the defaults are for the tests of this folder."""

    address: str = "127.0.0.1"
    """The address that the API server listens on."""
    names: tuple[str, ...] = ("localhost", "kubernetes.default.svc", "10.96.0.1")
    """More names in its certificate."""
    authorization: str = "RBAC"
    """Its authorization modes."""
    lax_ca: bool = False
    """A CA without keyUsage (see ``pki.Authority``)."""
    controllers: tuple[str, ...] = CONTROLLERS
    """The controllers that run; ``("*",)`` for those of a real cluster."""
    manifests: tuple[Path, ...] = ()
    """Files applied before the controller manager starts: it takes half a minute to notice a CRD that comes later."""
    api_flags: tuple[str, ...] = ()
    """More flags for the API server."""


class Commands:
    """The command lines. Ports are chosen and files written by the constructor."""

    def __init__(self, directory: Path, settings: Settings, authority: Authority) -> None:
        self._directory = directory
        self._settings = settings
        self._api, self._manager, self._etcd, self._peer = free_ports(4, settings.address)
        self.url = f"https://{settings.address}:{self._api}"
        self.manager_health = f"https://{settings.address}:{self._manager}/healthz"
        self.audit_log = directory / "audit.log"
        server = authority.server([settings.address, *settings.names])
        accounts = signing_key()
        for name, content in (
            ("ca.crt", authority.pem),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("accounts.pub", accounts.certificate),
            ("accounts.key", accounts.key),
            ("audit-policy.json", json.dumps(POLICY).encode()),
        ):
            (directory / name).write_bytes(content)
        manager = authority.client("system:kube-controller-manager", ["system:masters"])
        kubeconfig.write(directory / "controller-manager.kubeconfig", self.url, authority.pem, manager)

    def etcd(self) -> list[str]:
        """etcd, whose data need not survive a power cut."""
        client, peer = (f"http://{self._settings.address}:{port}" for port in (self._etcd, self._peer))
        return [
            str(build.path("etcd")),
            "--unsafe-no-fsync",
            f"--data-dir={self._directory / 'etcd'}",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def api_server(self) -> list[str]:
        """kube-apiserver with service account tokens, RBAC and an audit log."""
        directory, address = self._directory, self._settings.address
        return [
            str(build.path("kube-apiserver")),
            f"--etcd-servers=http://{address}:{self._etcd}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={self._api}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            f"--tls-cert-file={directory / 'server.crt'}",
            f"--tls-private-key-file={directory / 'server.key'}",
            f"--client-ca-file={directory / 'ca.crt'}",
            f"--authorization-mode={self._settings.authorization}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={directory / 'accounts.pub'}",
            f"--service-account-signing-key-file={directory / 'accounts.key'}",
            f"--audit-policy-file={directory / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--profiling=false",
            *self._settings.api_flags,
        ]

    def controller_manager(self) -> list[str]:
        """kube-controller-manager with the controllers of the settings, all as one user, which is not audited."""
        directory, credentials = self._directory, self._directory / "controller-manager.kubeconfig"
        return [
            str(build.path("kube-controller-manager")),
            "--leader-elect=false",
            "--profiling=false",
            f"--kubeconfig={credentials}",
            f"--authentication-kubeconfig={credentials}",
            f"--authorization-kubeconfig={credentials}",
            f"--root-ca-file={directory / 'ca.crt'}",
            f"--service-account-private-key-file={directory / 'accounts.key'}",
            f"--bind-address={self._settings.address}",
            f"--secure-port={self._manager}",
            f"--cert-dir={directory / 'controller-manager'}",
            f"--controllers={','.join(self._settings.controllers)}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
