"""A stored value that is costly to parse costs its author's own Secret, and nobody else anything."""

import asyncio
import time
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from protos import csi_pb2
from tests.driver.sync.parser.test_client import huge_rsa_key
from tests.driver.sync.test_tls import EC, LEAF_PEM, pem
from tests.support.fake_api_rig import fake_api_rig
from tests.support.waiting import until

# 93 bytes: a PKCS#12 file with 2^31-1 rounds of key derivation for its MAC.
ROUNDS = bytes.fromhex(
    "305b020103301106092a864886f70d010701a0040402300030433031300d060960864801650304020105000420" + "00" * 32
) + bytes.fromhex("04080000000000000000" + "02047fffffff")
HEADERS = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"X-Header: value\n" * 62_000 + b"-----END RSA PRIVATE KEY-----\n"
MANY_HEADERS = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"X: y\n" * 800_000 + b"-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "value",
    [ROUNDS, huge_rsa_key(400_000), huge_rsa_key(1_600_000), HEADERS, MANY_HEADERS],
    ids=["rounds", "rsa", "larger-rsa", "headers", "many-headers"],
)
def test_a_costly_value(tmp_path: Path, value: bytes) -> None:
    """Scenario: a class syncs a costly value as kubernetes.io/tls. Expected: an event on its pod; meanwhile the driver
    answers Probe, and another pod's volume and Secret come and go."""
    pair = pem(EC, PrivateFormat.PKCS8) + LEAF_PEM

    def entry(name: str) -> dict[str, object]:
        data = [{"objectName": name, "key": key} for key in ("tls.crt", "tls.key")]
        return {"secretName": name, "type": "kubernetes.io/tls", "data": data}

    def objects(name: str) -> dict[str, str]:
        return {"objects": f"array:\n- |\n  objectName: {name}\n"}

    async def test() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class("bad", secretObjects=[entry("costly")], parameters=objects("costly"))
            here.make_class("good", secretObjects=[entry("pair")], parameters=objects("pair"))
            async with here.driver() as rig:
                rig.provider.put("costly", value)
                rig.provider.put("pair", pair)
                bad = here.volume(rig, here.make_pod("attacker"), class_name="bad")
                attack = asyncio.create_task(bad.publish())
                good = here.volume(rig, here.make_pod("victim"), class_name="good")
                began = time.monotonic()
                await good.publish()
                probe = await rig.identity.Probe(csi_pb2.ProbeRequest(), timeout=2)
                seconds = time.monotonic() - began
                assert probe.ready.value
                await attack
                await until(lambda: here.secret("pair"), "the other Secret")
                secret = here.secret("pair")
                assert secret is not None and LEAF_PEM in b64decode(secret["data"]["tls.crt"])
                await until(lambda: here.events("FailedToCreateSecret"), "an event")
                assert here.secret("costly") is None
                await good.unpublish()
                assert b"-----" not in str(here.events("FailedToCreateSecret")).encode()
                print(f"publish and Probe beside the attack: {seconds:.2f} s")
                assert seconds < 10

    asyncio.run(test())
