"""Files with an API server's address and a client's credentials."""

import json
from base64 import b64encode
from pathlib import Path

from tests.cluster.pki import Pair


def write(path: Path, server: str, ca: bytes, identity: Pair | str) -> Path:
    """A kubeconfig (as JSON, which is YAML) for a client certificate or a bearer token."""
    user = (
        {"token": identity}
        if isinstance(identity, str)
        else {
            "client-certificate-data": b64encode(identity.certificate).decode(),
            "client-key-data": b64encode(identity.key).decode(),
        }
    )
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "preferences": {},
        "clusters": [
            {
                "name": "tests",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": b64encode(ca).decode(),
                },
            }
        ],
        "users": [{"name": "tests", "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
    path.chmod(0o600)
    return path


def write_pod_credentials(directory: Path, ca: bytes, namespace: str, token: str) -> Path:
    """The files of ``/var/run/secrets/kubernetes.io/serviceaccount``; written again with another token it is a
    rotation."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (("ca.crt", ca), ("namespace", namespace.encode()), ("token", token.encode())):
        unfinished = directory / f".{name}"
        unfinished.write_bytes(content)
        unfinished.replace(directory / name)
    return directory
