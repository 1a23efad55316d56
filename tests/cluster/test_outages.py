"""``last-known-good`` with tokens of a real API server, which say whose account they are."""

import json
from pathlib import Path
from typing import Any

import grpc

from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.accounts import ACCOUNT, TOKENS
from tests.support.outage_rig import KNOWN_GOOD, SHARED, OutageRig, hurried, unsteady
from tests.support.rig import Volume
from tests.support.waiting import run_async, until_blocking


def pod(cluster: ControlPlane, rig: ClusterRig, it: OutageRig, name: str, account: str) -> Volume:
    """A volume of a new pod, with a token that is bound to it, as kubelet asks for it."""
    made = rig.make_pod(name, account=account)
    bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made.uid}
    token = cluster.token(rig.namespace, account, audiences=["vault"], bound_to=bound)
    tokens = {"vault": {"token": token, "expirationTimestamp": "2036-01-01T00:00:00Z"}}
    return rig.volume(it.rig, made, attributes={ACCOUNT: account, TOKENS: json.dumps(tokens)})


def test_accounts(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The store is away → a pod of the same account starts with the same content, one of another account does not, nor
    does one of an account of that name that was created anew; the event and the pod status say what was served."""
    rig = ClusterRig(cluster, namespace, tmp_path)
    for account in ("app", "other"):
        cluster.service_account(namespace, account)
    rig.make_class(provider="lab", annotations={**KNOWN_GOOD, **SHARED})

    async def run() -> None:
        with hurried() as shift:
            async with rig.driver() as driver, unsteady(driver, shift) as it:
                await pod(cluster, rig, it, "first", "app").publish()
                it.pass_time(31)
                it.away()
                same, other = (pod(cluster, rig, it, f"of-{name}", name) for name in ("app", "other"))
                await same.publish()
                assert same.read() == b"s3cret"
                assert (await other.failure())[0] == grpc.StatusCode.UNAVAILABLE
                status: Any = cluster.api.get(rig.status_path("of-app"))["status"]
                assert status["lastFailure"]["reason"] == "ServedLastKnownGood"
                await until_blocking(lambda: rig.events("ServedLastKnownGood"), "the event")

                cluster.api.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/app")
                cluster.service_account(namespace, "app")
                anew = pod(cluster, rig, it, "anew", "app")
                assert (await anew.failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)
