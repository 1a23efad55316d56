"""Dynamic secrets and short tokens of a real server."""

from pathlib import Path

from cryptography import x509

from tests.stores.identities import Issuer, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.waiting import run_async, until

ROTATING = {"enable_secret_rotation": True, "rotation_poll_interval": 0.2}


def test_token_ends(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """The store's token ends within seconds, and then all tokens of the role are revoked → refreshes go on, each with a
    valid token."""
    bao.put("ends", password="one")
    bao.policy("ends", "secret/data/ends read")
    jwt_role(bao, "ends", "default", "ends", token_ttl="3s", token_max_ttl="6s")

    async def scenario() -> None:
        async with store_rig(tmp_path, bao, issuer, config=ROTATING) as rig:
            rig.write_class(secret("password", "secret/data/ends"), roleName="ends")
            volume = rig.volume()
            await volume.publish()
            since = bao.mark()

            async def logged_in_again() -> bool:
                await volume.publish()
                return bool(bao.calls("auth/jwt/login", since))

            await until(logged_in_again, "another login", 60, 0.3)
            bao.write("sys/leases/revoke-prefix/auth/jwt/login")
            bao.put("ends", password="two")

            async def fresh() -> bool:
                await volume.publish()
                return volume.read() == b"two"

            await until(fresh, "the new value", 60, 0.3)

    run_async(scenario)


def test_certificate(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """A certificate of the PKI engine: certificate and key come of one call and belong together; refreshes do not issue
    another one."""
    bao.write("sys/mounts/pki", type="pki")
    bao.write("pki/root/generate/internal", common_name="root.example.com")
    bao.write("pki/roles/web", allowed_domains="example.com", allow_subdomains=True, key_type="ec", key_bits=256)
    bao.policy("web", "pki/issue/web update")
    jwt_role(bao, "web", "default", "web")
    arguments = {"common_name": "web.example.com", "ttl": "24h"}

    async def scenario() -> None:
        async with store_rig(tmp_path, bao, issuer, config=ROTATING) as rig:
            rig.write_class(
                secret("tls.crt", "pki/issue/web", "certificate", method="PUT", secretArgs=arguments),
                secret("tls.key", "pki/issue/web", "private_key", method="PUT", secretArgs=arguments),
                secret("all.json", "pki/issue/web", "", method="PUT", secretArgs=arguments),
                roleName="web",
            )
            since = bao.mark()
            volume = rig.volume()
            await volume.publish()
            certificate = x509.load_pem_x509_certificate(volume.read("tls.crt"))
            assert certificate.subject.rfc4514_string() == "CN=web.example.com"
            assert b"PRIVATE KEY" in volume.read("tls.key")
            assert volume.read("tls.crt").decode().splitlines()[1] in volume.read("all.json").decode()

            async def refreshed() -> bool:
                await volume.publish()
                return rig.provider.calls >= 3

            await until(refreshed, "refreshes", 60, 0.3)
            assert len(bao.calls("pki/issue/web", since)) == 1
            assert x509.load_pem_x509_certificate(volume.read("tls.crt")) == certificate

    run_async(scenario)


def test_lease(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """A secret with a lease of seconds (a token of another role, which the server counts as dynamic) → the same one
    while it is renewed, then a new one before the old one's end."""
    bao.write("sys/mounts/dynamic", type="pki")
    bao.write("dynamic/root/generate/internal", common_name="root.example.com")
    bao.write("dynamic/roles/web", allow_any_name=True, key_type="ec", key_bits=256, generate_lease=True)
    bao.policy("lease", "dynamic/issue/web update", "sys/leases/renew update", "sys/leases/revoke update")
    jwt_role(bao, "lease", "default", "lease")
    arguments = {"common_name": "web.example.com", "ttl": "9s"}

    async def scenario() -> None:
        async with store_rig(tmp_path, bao, issuer, config=ROTATING) as rig:
            rig.write_class(
                secret("tls.crt", "dynamic/issue/web", "certificate", method="PUT", secretArgs=arguments),
                roleName="lease",
            )
            volume = rig.volume()
            await volume.publish()
            assert len(bao.leases("dynamic/issue/web")) == 1
            first = volume.read("tls.crt")

            async def replaced() -> bool:
                await volume.publish()
                return volume.read("tls.crt") != first

            await until(replaced, "another certificate", 60, 0.3)
            before = x509.load_pem_x509_certificate(first)
            after = x509.load_pem_x509_certificate(volume.read("tls.crt"))
            assert before.serial_number != after.serial_number
            assert after.not_valid_before_utc < before.not_valid_after_utc

    run_async(scenario)
