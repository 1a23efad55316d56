"""The fake API server as a process of its own, with the classes of the attacks:
``python -m tests.attacks.api_server KUBECONFIG``. It prints a line when it serves, and ends with its input."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.attacks.attacker import ABSENT, COSTLY, NAMESPACE, REPLIES
from tests.support.fake_api import FakeApi


def make_class(
    api: FakeApi, namespace: str, name: str, provider: str, parameters: Mapping[str, str], **spec: Any
) -> None:
    """Create a SecretProviderClass."""
    api.create(
        {
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"provider": provider, "parameters": dict(parameters), **spec},
        }
    )


def main() -> None:
    """Serve until the input ends."""
    with FakeApi() as api:
        make_class(api, "default", "fine", "stub", {"objects": "- objectName: password"})
        for name in REPLIES:
            data = [{"objectName": "f", "key": key} for key in ("tls.crt", "tls.key")]
            costly = [{"secretName": name, "type": "kubernetes.io/tls", "data": data}] if name in COSTLY else []
            make_class(api, NAMESPACE, name, "hostile", {"reply": name}, secretObjects=costly)
        for number in range(ABSENT):
            make_class(api, NAMESPACE, f"absent-{number}", f"absent-{number}", {"x": "y"})
        api.kubeconfig(Path(sys.argv[1]), "token")
        print("serving", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
