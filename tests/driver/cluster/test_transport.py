"""Where the API server's address and our credentials come from."""

import asyncio
from pathlib import Path

import pytest

from driver.cluster import transport
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority

SERVER = "https://192.0.2.1:6443"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A kubeconfig."""
    return kubeconfig.write(tmp_path / "kubeconfig", SERVER, Authority("ca").pem, "token")


def host(named: str) -> str:
    """The server that is talked to."""

    async def opened() -> str:
        made = await transport.Transport.open(named)
        await made.close()
        return made._host

    return asyncio.run(opened())


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_named_file_comes_before_the_service_account(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """In a pod: --kubeconfig and $KUBECONFIG are both said by a person, the service account is there by itself."""
    (tmp_path / "token").write_text("token")
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setenv("KUBECONFIG", str(file) if by == "environment" else "/nowhere")
    assert host(str(file) if by == "flag" else "") == SERVER


@pytest.mark.parametrize("content", ["", "a: [", "[]", "apiVersion: v1\nkind: Config\n", "\0"])
def test_a_file_that_is_half_there(file: Path, content: str) -> None:
    """It is being written: an error after which it is read again, not a bug."""
    file.write_text(content)
    with pytest.raises(transport.CONFIGURATION_ERRORS):
        host(str(file))
