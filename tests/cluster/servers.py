"""A real control plane on the loopback: etcd, kube-apiserver and kube-controller-manager, for one test run.

with ControlPlane(directory, Settings()) as cluster:
    cluster.api.create({...})
"""

import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import TracebackType

from tests.cluster import build, kubeconfig
from tests.cluster.api import Api, Object
from tests.cluster.audit import AuditLog
from tests.cluster.commands import Commands, Settings
from tests.cluster.pki import Authority, Pair
from tests.cluster.processes import Process
from tests.support.waiting import wait_until


class ControlPlane:
    """The servers, as a context manager that starts and stops them, and access to them."""

    def __init__(self, directory: Path, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.directory = directory
        self.settings = settings
        self.authority = Authority(lax=settings.lax_ca)
        commands = Commands(directory, settings, self.authority)
        self.url = commands.url
        self._manager_health = commands.manager_health
        admin = self.authority.client("tests-admin", ["system:masters"])
        self.admin_kubeconfig = kubeconfig.write(directory / "admin.kubeconfig", self.url, self.ca, admin)
        self.api = Api(self.url, self.client_context(admin))
        self.audit = AuditLog(commands.audit_log, self.api)
        self.etcd, self.api_server, self.controller_manager = (
            Process(name, command, directory / f"{name}.log")
            for name, command in (
                ("etcd", commands.etcd()),
                ("kube-apiserver", commands.api_server()),
                ("kube-controller-manager", commands.controller_manager()),
            )
        )

    @property
    def ca(self) -> bytes:
        """The CA certificate by which clients verify the API server."""
        return self.authority.pem

    def __enter__(self) -> "ControlPlane":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all servers and wait until they serve and the default namespace is usable."""
        self.etcd.start()
        self.api_server.start()
        self.wait_ready()
        for manifest in self.settings.manifests:
            self.kubectl("apply", "--server-side", "-f", str(manifest))
        self.controller_manager.start()
        _wait_ready(self.controller_manager, self._manager_health, _unverified())
        self._usable("default")

    def stop(self) -> None:
        """Kill all servers; their logs are kept, their data (128 MB) is deleted."""
        for process in (self.controller_manager, self.api_server, self.etcd):
            process.kill()
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)

    def wait_ready(self, seconds: float = 90) -> None:
        """Wait until the API server is ready."""
        _wait_ready(self.api_server, f"{self.url}/readyz", self.client_context(), seconds)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Kill the API server for the length of the block; afterwards it is ready again."""
        self.api_server.kill()
        try:
            yield
        finally:
            self.api_server.start()
            self.wait_ready()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the API server for the length of the block: connections stay open, nothing is answered."""
        self.api_server.freeze()
        try:
            yield
        finally:
            self.api_server.thaw()
            self.wait_ready()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator; returns its standard output."""
        # A cache from before a CRD was served would hide its short names.
        with TemporaryDirectory(dir=self.directory) as cache:
            done = subprocess.run(
                [build.path("kubectl"), f"--kubeconfig={self.admin_kubeconfig}", f"--cache-dir={cache}", *arguments],
                input=stdin,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def namespace(self, name: str) -> str:
        """Create a namespace, and wait until pods can be created in it."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._usable(name)
        return name

    def service_account(self, namespace: str, name: str) -> None:
        """Create a service account, unless it exists."""
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"namespace": namespace, "name": name},
            }
        )

    def token(
        self,
        namespace: str,
        name: str,
        *,
        seconds: int = 3600,
        audiences: Sequence[str] = (),
        bound_to: Object | None = None,
    ) -> str:
        """A token of a service account as the API server gives it to kubelet (10 minutes is the shortest life).

        One that is ``bound_to`` a Secret or a pod (apiVersion, kind, name, uid) is refused some seconds after that
        object is deleted.
        """
        spec: Object = {"expirationSeconds": seconds, "audiences": list(audiences)}
        if bound_to is not None:
            spec["boundObjectRef"] = bound_to
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api.request("POST", path, body)
        return str(answer["status"]["token"])

    def token_kubeconfig(
        self,
        path: Path,
        namespace: str,
        name: str,
        *,
        server: str | None = None,
        ca: bytes | None = None,
    ) -> Path:
        """A kubeconfig with a token of a service account; ``server`` and ``ca`` when a proxy stands in front."""
        return kubeconfig.write(path, server or self.url, ca or self.ca, self.token(namespace, name))

    def api_as(self, namespace: str, name: str) -> Api:
        """A client with a service account's token."""
        return Api(self.url, self.client_context(), self.token(namespace, name))

    def client_context(self, identity: Pair | None = None) -> ssl.SSLContext:
        """A TLS context that trusts the API server, with a client certificate if one is given."""
        context = ssl.create_default_context(cadata=self.ca.decode())
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if identity is not None:
            with NamedTemporaryFile() as pair:
                pair.write(identity.certificate + identity.key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context

    def _usable(self, namespace: str) -> None:
        """Admission refuses pods in a namespace until the controller manager has made its default service account."""
        self.api.until(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", lambda found: found is not None)
        self.api.until(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt", lambda found: found is not None)


def _unverified() -> ssl.SSLContext:
    """The controller manager signs its certificate itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _wait_ready(process: Process, url: str, context: ssl.SSLContext, seconds: float = 90) -> None:
    """Wait until ``url`` answers 200; an error shows why if the process ends or the time is up."""
    reason = ""

    def ready() -> bool:
        nonlocal reason
        process.check()
        try:
            with urllib.request.urlopen(url, timeout=5, context=context):
                return True
        except OSError as error:
            reason = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
            return False

    wait_until(ready, lambda: f"{process.name} to be ready: {reason}\n{process.tail()}", seconds, pause=0.05)
