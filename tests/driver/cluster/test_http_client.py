"""How aiohttp is imported."""

import subprocess
import sys

SCRIPT = """
import ssl
from driver.cluster.http_client import aiohttp
from aiohttp import connector
default = ssl.create_default_context()
for context in (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED):
    assert context.cert_store_stats()["x509"] == 0, context.cert_store_stats()
assert connector._SSL_CONTEXT_VERIFIED.verify_mode is ssl.CERT_REQUIRED
assert "set_default_verify_paths" not in vars(ssl.SSLContext)
if ssl.get_default_verify_paths().cafile:
    assert default.cert_store_stats()["x509"] > 0
"""


def test_no_default_authorities() -> None:
    """aiohttp is imported by us → its own contexts read no certificate, and trust nobody; contexts that are made
    afterwards trust the system's authorities as always."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
