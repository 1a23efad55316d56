"""Secrets of a real OpenBao server, through the provider and the whole driver."""

import asyncio
import json
from pathlib import Path

from tests.cluster.pki import Authority
from tests.provider_openbao.fake_store import contents, provider, request
from tests.stores.identities import TOKENS, Issuer, enable_kubernetes, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.fake_api import FakeApi
from tests.support.waiting import run_async, until


def test_mount(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """A class with both versions of KV, one key, a whole secret, an old version, encodings and modes → the files."""
    bao.put("mount", password="first", binary="AAEC", number=5)
    bao.put("mount", password="second", binary="AAEC", number=5, nested={"a": [1, "b"]})
    bao.write("kv/mount", password="of version 1")
    bao.policy("mount", "secret/data/mount read", "kv/mount read")
    jwt_role(bao, "mount", "default", "mount")

    async def scenario() -> None:
        async with store_rig(tmp_path, bao, issuer) as rig:
            rig.write_class(
                secret("password", "secret/data/mount"),
                secret("old", "secret/data/mount?version=1"),
                secret("v1/password", "kv/mount", filePermission=0o400),
                secret("bin", "/v1/secret/data/mount", "binary", encoding="base64"),
                secret("number", "secret/data/mount", "number"),
                secret("nested", "secret/data/mount", "nested"),
                secret("whole", "secret/data/mount", ""),
                roleName="mount",
                audience="vault",
            )
            volume = rig.volume()
            await volume.publish()
            assert volume.read() == b"second"
            assert volume.read("old") == b"first"
            assert volume.read("v1/password") == b"of version 1"
            assert (volume.target / "v1/password").stat().st_mode & 0o777 == 0o400
            assert volume.read("bin") == b"\0\1\2"
            assert volume.read("number") == b"5"
            assert json.loads(volume.read("nested")) == {"a": [1, "b"]}
            whole = json.loads(volume.read("whole"))
            assert whole["data"]["data"]["password"] == "second"
            assert whole["data"]["metadata"]["version"] == 2
            assert "request_id" not in whole
            await volume.unpublish()

    run_async(scenario)


def test_kubernetes_auth(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """Kubernetes auth, where the server asks the API server (TokenReview), with the parameters of an old class → the
    file; another service account → refused, with its name."""
    bao.put("kube", password="reviewed")
    bao.policy("kube", "secret/data/kube read")

    async def scenario() -> None:
        with FakeApi(Authority()) as api:
            enable_kubernetes(bao, api)
            bao.write(
                "auth/kubernetes/role/kube",
                bound_service_account_names=["default"],
                bound_service_account_namespaces=["default"],
                policies=["kube"],
                audience="vault",
            )
            async with store_rig(tmp_path, bao, issuer) as rig:
                item = secret("password", "secret/data/kube")
                rig.write_class(item, roleName="kube", vaultAuthMountPath="", vaultKubernetesMountPath="kubernetes")
                volume = rig.volume()
                await volume.publish()
                assert volume.read() == b"reviewed"
                code, sentence = await rig.volume("pod-2", account="other").failure()
                assert code.name == "PERMISSION_DENIED"
                assert "default/other" in sentence and "roleName" in sentence

    run_async(scenario)


def test_rotation(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """A secret changes in the store → the next refresh has it, with another version; nothing changed → the same one."""
    bao.put("rotated", password="one")
    bao.policy("rotated", "secret/data/rotated read")
    jwt_role(bao, "rotated", "default", "rotated")

    async def scenario() -> None:
        config = {"enable_secret_rotation": True, "rotation_poll_interval": 0.2}
        async with store_rig(tmp_path, bao, issuer, config=config) as rig:
            item = secret("password", "secret/data/rotated")
            rig.write_class(item, roleName="rotated")
            volume = rig.volume()
            await volume.publish()
            assert volume.read() == b"one"
            bao.put("rotated", password="two")

            async def refreshed() -> bool:
                await volume.publish()
                return volume.read() == b"two"

            await until(refreshed, "the new value", 60, 0.3)
            assert rig.provider.calls >= 2

    run_async(scenario)


def test_token_is_shared_by_identity_only(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """Many pods of two service accounts at once → one login for each account, and neither can use the other's."""
    bao.put("one", password="of one")
    bao.put("two", password="of two")
    for name in ("one", "two"):
        bao.policy(name, f"secret/data/{name} read")
        jwt_role(bao, name, name, name)
    since = bao.mark()

    async def scenario() -> None:
        async with store_rig(tmp_path, bao, issuer) as rig:
            for name in ("one", "two"):
                item = secret("password", f"secret/data/{name}")
                rig.write_class(item, name=name, roleName=name)
            volumes = [
                rig.volume(f"{name}-{number}", name, class_name=name) for name in ("one", "two") for number in range(8)
            ]
            await asyncio.gather(*(volume.publish(60) for volume in volumes))
            assert [volume.read() for volume in volumes] == [b"of one"] * 8 + [b"of two"] * 8
            # One's class with the role of two, whose token is there already: the login decides, and says no.
            code, sentence = await rig.volume("thief", "one", class_name="two").failure()
            assert code.name == "PERMISSION_DENIED"
            assert "login" in sentence and "default/one" in sentence

    run_async(scenario)
    assert len([call for call in bao.calls("auth/jwt/login", since) if "auth" in call["response"]]) == 2


def test_many_pods(bao: OpenBao, issuer: Issuer) -> None:
    """1,000 pods of 20 service accounts at once → 20 logins and one read for each pod, and all succeed."""
    bao.put("many", password="of all")
    bao.policy("many", "secret/data/many read")
    for number in range(20):
        jwt_role(bao, f"many-{number}", f"many-{number}", "many")
    tokens = [issuer.attributes(f"many-{number}")[TOKENS] for number in range(20)]
    item = "- {objectName: password, secretPath: secret/data/many, secretKey: password}"
    since = bao.mark()

    async def scenario() -> None:
        async with provider() as made:
            requests = [
                request(
                    bao.url,
                    f"pod-{number}",
                    f"many-{number % 20}",
                    roleName=f"many-{number % 20}",
                    vaultAuthMountPath="jwt",
                    objects=item,
                    **{TOKENS: tokens[number % 20]},
                )
                for number in range(1000)
            ]
            replies = await asyncio.gather(*(made.mount(asked) for asked in requests))
            assert all(contents(reply) == {"password": b"of all"} for reply in replies)

    run_async(scenario)
    assert len(bao.calls("auth/jwt/login", since)) == 20
    assert len(bao.calls("secret/data/many", since)) == 1000
