"""Redaction: nothing secret is written."""

import time

import pytest

from protos import csi_pb2
from runtime import redact

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text, gone",
    [
        (f"login failed with {TOKEN} today", TOKEN),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ('{"client_secret": "hunter2hunter2"}', "hunter2hunter2"),
        ("password=hunter2 was wrong", "hunter2"),
        ("token: s.abcdefgh", "s.abcdefgh"),
        ("vault said hvs.CAESIJlongtoken", "hvs.CAESIJlongtoken"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"),
    ],
)
def test_credentials_are_withheld(text: str, gone: str) -> None:
    """Each kind of credential in a foreign text is replaced by a mark."""
    assert gone not in redact.text(text)
    assert redact.WITHHELD in redact.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "failed to get secretproviderclass ns/name, error: not found",
        'provider "stub": secret db-password does not exist',
    ],
)
def test_plain_texts_stay(text: str) -> None:
    """A text without credentials is unchanged: users search for these texts."""
    assert redact.text(text) == text


def test_texts_are_bounded_and_on_one_line() -> None:
    """A foreign error text of a megabyte becomes one line of bounded length."""
    shown = redact.text("a\nb " * 500_000)
    assert len(shown) <= redact.MAX_TEXT_LENGTH + 1
    assert "\n" not in shown


@pytest.mark.parametrize("piece", ["eyJ-aaaaa-", "a-", "token ", "-----BEGIN PRIVATE KEY"])
def test_hostile_texts_take_no_time(piece: str) -> None:
    """Megabytes of text made to be slow to search, as a provider may return them → cut before they are searched."""
    started = time.process_time()
    redact.text(piece * 500_000)
    assert time.process_time() - started < 1.0


def test_requests_show_structure_only() -> None:
    """A publish request is shown with its ids and paths; of secrets and volume context only the keys."""
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id="v",
        target_path="/t",
        secrets={"user": "hunter2"},
        volume_context={"csi.storage.k8s.io/serviceAccount.tokens": TOKEN, "roleName": "app"},
    )
    request.volume_capability.mount.volume_mount_group = "1000"
    shown = redact.message(request)
    assert shown["volume_id"] == "v"
    assert shown["volume_capability"] == {"mount": {"volume_mount_group": "1000"}}
    assert set(shown["volume_context"]) == {"csi.storage.k8s.io/serviceAccount.tokens", "roleName"}
    for secret in ("hunter2", TOKEN, "app"):
        assert secret not in str(shown)
