"""Service account tokens and node publish secrets go to the provider and nowhere else."""

import json
import logging
from pathlib import Path

import pytest

from driver.providers import wire
from runtime import logs, metrics
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.rig import OBJECTS
from tests.support.waiting import run_async, until_blocking

TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}


@pytest.mark.parametrize("in_secrets", [False, True], ids=["volume-context", "secrets-field"])
@pytest.mark.parametrize("how", ["works", "fails", "bug"])
def test_tokens_do_not_leak(
    cluster: ControlPlane,
    namespace: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_secrets: bool,
    how: str,
) -> None:
    """A real token is sent in either way, and a refresh works, fails with an error that quotes the token, or raises an
    exception that does → at the highest verbosity the provider has the token, and no log, reply, event, pod status,
    Secret, metric or status page does."""
    cluster_rig = ClusterRig(cluster, namespace, tmp_path)
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    token = cluster.token(namespace, "default", audiences=["vault"])
    value = json.dumps({"vault": {"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"}})
    where = {"secrets": {TOKENS: value, "password": "n0de-publish"}} if in_secrets else {"attributes": {TOKENS: value}}
    texts: list[str] = []

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True, v=10) as rig:
            volume = cluster_rig.volume(rig, pod, **where)
            await volume.publish()
            request = rig.provider.last_request
            assert request is not None and token in str(dict(request.attributes)[TOKENS])
            if how == "fails":
                cluster_rig.make_class(parameters={"objects": OBJECTS.replace("password", token)})
                await rig.restart()
            state = rig.driver.volumes.get(str(volume.target))
            assert state is not None
            state.refreshed_at = None
            if how == "bug":
                monkeypatch.setattr(wire, "mount_request", _bug)
            await volume.publish()
            if how != "works":
                await until_blocking(lambda: cluster_rig.events("SecretRefreshFailed"), "the event")
            texts.append(json.dumps(rig.driver.snapshot()))
            texts.append(metrics.render(rig.driver.metrics.registry).decode())

    def _bug(*of: object) -> None:
        raise ValueError(value)

    logs.configure("driver", as_json=False, verbosity=10)
    try:
        with caplog.at_level(logging.DEBUG):
            run_async(test)
    finally:
        logs.configure("driver", as_json=False, verbosity=0)
    texts.append("".join(capfd.readouterr()))
    texts.append(caplog.text)
    plurals = ("events", "secretproviderclasspodstatuses", "secrets")
    texts += [json.dumps(cluster_rig.listed(plural)) for plural in plurals]
    assert any("NodePublishVolume" in text for text in texts), "nothing was logged"
    for text in texts:
        assert token not in text and token.split(".")[1] not in text and "n0de-publish" not in text
