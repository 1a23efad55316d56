"""A program for test_proxy: a network namespace with the address of a cluster's API service, a fake API server behind
it, a proxy, and the driver's client in the place of a pod.

python -m tests.driver.cluster.service_network DIRECTORY < environments.json > through_the_proxy.json
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from driver.cluster import transport
from driver.cluster.api import Api
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.driver.cluster.connecting import run
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_api import FakeApi

SERVICE = "10.96.0.1"
_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
# if.h, sockios.h
_IFF_UP, _SIOCSIFFLAGS, _SIOCSIFADDR = 1, 0x8914, 0x8916


def enter_network() -> None:
    """Leave the machine's network for one with the loopback interface and the service's address only."""
    flags = _CLONE_NEWNET | (_CLONE_NEWUSER if os.getuid() else 0)
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(SERVICE))
        fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16s16s", b"lo:1", address))


class Service(FakeApi):
    """The API server at the service's address."""

    async def _listen(self) -> None:
        self._listener = await self.loop.create_server(self._server, SERVICE, self._port, ssl=self._context)
        self._port = self._listener.sockets[0].getsockname()[1]


def main(directory: Path) -> None:
    """Make one call with each environment, as in a pod."""
    enter_network()
    authority, through = Authority("service"), []
    kubeconfig.write_pod_credentials(directory, authority.pem, "default", "token")
    with Service(authority) as server, pytest.MonkeyPatch.context() as patch:
        server.present(authority.server([SERVICE]))
        port = server._port
        patch.delenv("KUBECONFIG", raising=False)
        patch.setenv("KUBERNETES_SERVICE_HOST", SERVICE)
        patch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        for module in (incluster_config, transport):
            patch.setattr(module, "SERVICE_TOKEN_FILENAME", str(directory / "token"))
        patch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(directory / "ca.crt"))
        for environment in json.load(sys.stdin):
            with ConnectProxy((SERVICE, port)) as proxy, patch.context() as case:
                case.setenv("HTTPS_PROXY", proxy.url)
                for name, value in environment.items():
                    case.setenv(name, value.format(port=port))
                run("", _call)
                through.append(proxy.targets == [f"{SERVICE}:{port}"])
    json.dump(through, sys.stdout)


async def _call(api: Api) -> None:
    assert (await api.call("GET", "/version"))["major"] == "1"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
