"""Secrets of a real OpenBao in real pods, with the tokens that kubelet gets for them; driver and provider are the
chart's DaemonSets."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.conftest import REQUIRED
from tests.kubelet.openbao import OpenBaoRig, openbao_rig
from tests.kubelet.rig import KubeletRig
from tests.kubelet.test_volumes import value
from tests.stores.openbao import program
from tests.stores.postgres import Postgres, enable_database, programs

PASSWORD = "- {{objectName: password, secretPath: secret/data/{0}, secretKey: password}}\n"
ACCOUNTS, PODS_EACH = 20, 5


@pytest.fixture(scope="module")
def openbao(rig: KubeletRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBaoRig]:
    """The server and its provider on the node; skip or fail if the server is not installed."""
    if not program() or programs() is None:
        sentence = "no OpenBao or PostgreSQL: make test-kubelet installs the first, .ci/install test the second"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    with openbao_rig(rig, tmp_path_factory.mktemp("openbao")) as made:
        yield made


@pytest.mark.parametrize("mount", ["kubernetes", "jwt"])
def test_mount_rotate_and_sync(openbao: OpenBaoRig, mount: str) -> None:
    """A pod starts with an environment variable from the synced Secret, having logged in with its own token → the file
    and the Secret have the store's value, and the new one when it changes; both are gone with the pod."""
    name, rig = f"app-{mount}", openbao.rig
    openbao.bao.put(name, password="one")
    openbao.allow(name, f"secret/data/{name} read")
    synced = {"secretName": name, "type": "Opaque", "data": [{"objectName": "password", "key": "password"}]}
    openbao.apply_class(name, PASSWORD.format(name), mount, secret_objects=[synced])
    rig.node.apply(openbao.pod(name, name, env={"PASSWORD": f"{name}/password"}))
    rig.wait_running(name)
    assert rig.read(name, "secrets/password") == "one"
    assert rig.exec("env", pod=name).count("PASSWORD=one") == 1
    openbao.bao.put(name, password="two")
    rig.node.until(lambda: rig.read(name, "secrets/password") == "two", "the file to rotate")
    rig.node.until(lambda: value(rig.secret(name)) == "two", "the Secret to rotate")
    uid = rig.uid_of(name)
    rig.delete(name)
    rig.node.until(lambda: not rig.mounts_of(uid), "the volume to be unmounted")
    rig.node.until(lambda: rig.secret(name) is None, "the Secret to be collected")


def test_database_user_goes_with_its_pod(openbao: OpenBaoRig) -> None:
    """Two pods with a user of a real PostgreSQL each; one is deleted → its user is gone within moments, and the other
    pod's gets into the database still."""
    rig, bao = openbao.rig, openbao.bao
    with Postgres() as postgres:
        enable_database(bao, postgres, "app")
        openbao.allow("database", "database/creds/app read", "sys/leases/revoke update")
        entry = "- {{objectName: {0}, secretPath: database/creds/app, secretKey: {0}}}\n"
        openbao.apply_class("database", entry.format("username") + entry.format("password"))
        rig.node.apply(openbao.pod("db-1", "database"), openbao.pod("db-2", "database"))
        logins = {}
        for pod in ("db-1", "db-2"):
            rig.wait_running(pod)
            logins[pod] = [rig.read(pod, f"secrets/{name}") for name in ("username", "password")]
        assert len(postgres.users()) == 2 and all(postgres.may_log_in(*login) for login in logins.values())
        rig.delete("db-1")
        rig.node.until(lambda: postgres.users() == [logins["db-2"][0]], "the deleted pod's user to be gone", 60)
        assert not postgres.may_log_in(*logins["db-1"]) and postgres.may_log_in(*logins["db-2"])
        rig.delete("db-2")
        rig.node.until(lambda: not postgres.users() and not bao.leases("database/creds/app"), "no user to be left", 60)


def test_sealed_while_pods_start(openbao: OpenBaoRig) -> None:
    """The server is sealed, pods start → their events say so, and a running pod keeps its files; unsealed → they
    start by themselves, and a new value reaches the running pod."""
    rig, bao = openbao.rig, openbao.bao
    bao.put("sealed", password="one")
    openbao.allow("sealed", "secret/data/sealed read")
    openbao.apply_class("sealed", PASSWORD.format("sealed"))
    rig.node.apply(openbao.pod("before", "sealed"))
    rig.wait_running("before")
    waiting = [f"waiting-{number}" for number in range(3)]
    bao.seal()
    try:
        rig.node.apply(*(openbao.pod(pod, "sealed") for pod in waiting))
        for pod in waiting:
            openbao.until_event(pod, f"{bao.url} is sealed: unseal it")
        assert rig.read("before", "secrets/password") == "one"
    finally:
        bao.unseal()
    for pod in waiting:
        rig.wait_running(pod, seconds=150)
        assert rig.read(pod, "secrets/password") == "one"
    bao.put("sealed", password="two")
    rig.node.until(lambda: rig.read("before", "secrets/password") == "two", "the file to rotate", 90)
    rig.delete("before", *waiting)


def test_role_without_rights(openbao: OpenBaoRig) -> None:
    """A role whose policy does not allow the path, and a role that does not allow the pod's service account → events
    with the role, the path or the account; the policy is corrected → the pod starts."""
    rig, bao = openbao.rig, openbao.bao
    bao.put("rights", password="one")
    openbao.allow("rights", "secret/data/nothing read")
    openbao.allow("stranger", "secret/data/nothing read")
    openbao.apply_class("rights", PASSWORD.format("rights"))
    rig.node.apply(openbao.pod("no-policy", "rights"), openbao.pod("no-role", "stranger", "rights"))
    openbao.until_event("no-policy", "'password'", "role 'rights' may not read secret/data/rights")
    openbao.until_event("no-role", "role 'rights' must allow the service account default/stranger")
    bao.policy("rights", "secret/data/rights read")
    rig.wait_running("no-policy", seconds=150)
    assert rig.read("no-policy", "secrets/password") == "one"
    rig.delete("no-policy", "no-role")


def test_store_token_ends(openbao: OpenBaoRig) -> None:
    """A role whose tokens end after seconds, all of which are then revoked → rotation goes on, by new logins with the
    pod's token."""
    rig, bao = openbao.rig, openbao.bao
    bao.put("brief", password="0")
    openbao.allow("brief", "secret/data/brief read")
    bao.write("auth/kubernetes/role/brief", **_role("brief"), token_ttl="2s", token_max_ttl="4s")
    openbao.apply_class("brief", PASSWORD.format("brief"))
    rig.node.apply(openbao.pod("brief", "brief"))
    rig.wait_running("brief")
    since = bao.mark()
    for number in ("1", "2", "3"):
        bao.put("brief", password=number)
        rig.node.until(partial(_reads, rig, "brief", number), "the file to rotate")
        bao.write("sys/leases/revoke-prefix/auth/kubernetes/login")
    assert len(bao.calls("auth/kubernetes/login", since)) >= 2
    rig.delete("brief")


@pytest.mark.timeout(900)
def test_full_node(openbao: OpenBaoRig) -> None:
    """100 pods of 20 service accounts at once, which is what a node takes → all start, each with its own account's
    secret, after one login for each account and one read for each pod until the first refresh."""
    rig, bao = openbao.rig, openbao.bao
    accounts = [f"many-{number}" for number in range(ACCOUNTS)]
    for account in accounts:
        bao.put(account, password=f"of {account}")
        openbao.allow(account, f"secret/data/{account} read")
        openbao.apply_class(account, PASSWORD.format(account))
    pods = {f"{account}-{number}": account for account in accounts for number in range(PODS_EACH)}
    since = bao.mark()
    rig.node.apply(*(openbao.pod(pod, account) for pod, account in pods.items()))
    for pod, account in pods.items():
        rig.wait_running(pod, seconds=600)
        (volume,) = rig.mounts_of(rig.uid_of(pod))
        assert Path(volume, "password").read_text() == f"of {account}"
    logins = [call for call in bao.calls("auth/kubernetes/login", since) if "auth" in call["response"]]
    assert len(logins) == ACCOUNTS
    uids = [rig.uid_of(pod) for pod in pods]
    rig.node.cluster.kubectl("delete", "pod", *pods, "--wait=false")
    rig.node.until(lambda: not any(uid in point for point in rig.node.mounts() for uid in uids), "no volume left", 120)


def _reads(rig: KubeletRig, pod: str, content: str) -> bool:
    return rig.read(pod, "secrets/password") == content


def _role(account: str) -> dict[str, object]:
    return {
        "bound_service_account_names": [account],
        "bound_service_account_namespaces": ["default"],
        "token_policies": [account],
        "audience": "vault",
    }
