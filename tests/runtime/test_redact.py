"""Redaction: nothing secret is written."""

import time

import pytest

from protos import csi_pb2
from runtime import redact

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"


SECRET_TEXTS = [
    (f"login failed with {TOKEN} today", TOKEN),
    (f"body was {TOKEN[:40]}", TOKEN[:40]),
    (f'{{"token":"x"}}\\n{TOKEN}', TOKEN),
    ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
    ("Authorization: Basic dXNlcjpodW50ZXIy", "dXNlcjpodW50ZXIy"),
    ("sent header Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ("authorization: Zk93jd8sKl2", "Zk93jd8sKl2"),
    ('{"client_secret": "hunter2hunter2"}', "hunter2hunter2"),
    ('{"password": "two words here"}', "words here"),
    (r'body: "{\"token\":\"s3cr3t-t0k3n\"}"', "s3cr3t-t0k3n"),
    (r'body: "{\\\"token\\\":\\\"s3cr3t-t0k3n\\\"}"', "s3cr3t-t0k3n"),
    (r'{"password":"a\"quoted\"one"}', "quoted"),
    ("password=hunter2 was wrong", "hunter2"),
    ("password: hunter2", "hunter2"),
    ("password: hunter", "hunter"),
    ("PGPASSWORD=hunter2 psql", "hunter2"),
    ("user=admin pass=hunter2", "hunter2"),
    ("token: s.abcdefgh", "s.abcdefgh"),
    ("X-Vault-Token: abcd-efgh-1234", "abcd-efgh-1234"),
    ("X-Api-Key: 0123456789abcdef", "0123456789abcdef"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
    ("aws_access_key_id = AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("signed by ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
    ("AccountName=x;AccountKey=Zm9vYmFyYmF6cXV4;EndpointSuffix=core", "Zm9vYmFyYmF6cXV4"),
    ("Endpoint=sb://x/;SharedAccessKey=Zm9vYmFyYmF6", "Zm9vYmFyYmF6"),
    ("cannot reach https://user:hunter2@vault.example:8200/v1", "hunter2"),
    ("cannot reach postgres://app:p@ss:word@db/x", "p@ss:word"),
    ("dsn app:hunter2@tcp(db:3306)/x is invalid", "hunter2"),
    ("GET https://x.blob/y?sv=2020&sig=Zm9vYmFy%3D failed", "Zm9vYmFy"),
    ("GET /v1?access_token=abcdef&x=1", "abcdef"),
    ("GET https://s3/x?X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027", "fe5f80f77d5f"),
    ("Set-Cookie: session=abc123def; Path=/", "abc123def"),
    ("map[password:hunter2 user:app]", "hunter2"),
    ("{'password': 'hunter2'}", "hunter2"),
    ("<password>hunter2</password>", "hunter2"),
    ("vault login --password hunter2", "hunter2"),
    ("az login --client-secret s3cr3t~value", "s3cr3t~value"),
    ('invalid password "hunter2"', "hunter2"),
    ("secret=hunter2", "hunter2"),
    ("credentials=app:hunter2", "hunter2"),
    ('{"credential": "hunter2"}', "hunter2"),
    ("clientSecret => hunter2", "hunter2"),
    ("connection_string='Server=x;Pwd=hunter2'", "hunter2"),
    ("password%3Dhunter2", "hunter2"),
    ("vault said hvs.CAESIJlongtoken", "hvs.CAESIJlongtoken"),
    ("old token s.Ab3dEf6hIj9lMn2pQr5tUv8x here", "s.Ab3dEf6hIj9lMn2pQr5tUv8x"),
    ("remote: ghp_0123456789abcdefghij0123456789abcdef", "ghp_0123456789"),
    ("slack xoxb-123456789012-abcdefghij", "xoxb-123456789012"),
    ("key AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSyA1234567890"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"),
    (r'"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\n"', "MHcCAQ"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----", "lQOYBF"),
    ("data LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0t", "BSU0EgUFJJVkFURSBLRVktLS0t"),
    ("pass\u200bword=hunter2", "hunter2"),
    ("pass\x00word=hunter2", "hunter2"),
    ("tok\u202een: \x9bs3cr3t-t0k3n", "s3cr3t-t0k3n"),
]


@pytest.mark.parametrize("text, gone", SECRET_TEXTS)
def test_credentials_are_withheld(text: str, gone: str) -> None:
    """Each kind of credential in a foreign text is replaced by a mark; to do that twice changes nothing more."""
    shown = redact.text(text)
    assert gone not in shown
    assert redact.WITHHELD in shown
    assert redact.text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "failed to get secretproviderclass ns/name, error: not found",
        'provider "stub": secret db-password does not exist',
        "token expired",
        "token: expired",
        "no usable credentials: FileNotFoundError(2, 'No such file or directory')",
        "token: unexpected end of JSON input",
        "the token has expired; renew it",
        "invalid token: signature is invalid",
        "password: must not be empty",
        "failed to get secret: permission denied",
        'Secret "app-tls" is invalid: metadata.ownerReferences: Required value',
        'secrets "db-password" is forbidden: User "system:serviceaccount:default:app" cannot get resource "secrets"',
        "open /var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory",
        "open /etc/vault/token: permission denied",
        "/var/lib/kubelet/pods/0d1a0c3e-98a2-4b3c-8f67-3c5a1b2d4e5f/volumes/kubernetes.io~csi/secrets/mount",
        "image registry.example/app:v1@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "resourceVersion 123456, uid 0d1a0c3e-98a2-4b3c-8f67-3c5a1b2d4e5f",
        "dial tcp 10.0.0.1:8200: connect: connection refused",
        "Get https://vault.example:8200/v1/secret/data/app: context deadline exceeded",
        "Basic authentication failed",
        "Bearer authentication required",
        "secretProviderClass: my-class, secretName: app-tls, secretPath: kv/data/app",
        "key 'tls.crt' of secretObjects[0] names no file of the volume",
        "the limit is --max-call-recv-msg-size=4194304",
        "csi.storage.k8s.io/serviceAccount.tokens is not set: the CSIDriver object needs tokenRequests",
        "contact ops@example.com or see https://example.com/@docs",
        "max_tokens: 100, tokens=3",
        "/csi.v1.Node/NodePublishVolume",
        "2026-11-26T02:42:42.123456Z",
        "-----BEGIN CERTIFICATE----- is missing",
        "Schlüssel ungültig: приватный ключ 日本語 ✓",
        "objects entry 0 ('password'): role 'app' may not read secret/data/app (HTTP 403): grant it by a policy",
        "objects entry 3 ('db/api-key'): pki/issue/web refused the call (HTTP 400): correct secretArgs",
        'object ("token"): 5242880 bytes',
    ],
)
def test_plain_texts_stay(text: str) -> None:
    """A text without credentials is unchanged: users search for these texts."""
    assert redact.text(text) == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\x1b[31mred\x07", "ared"),
        ("\x1b[1;38:5:1mc\x1b[Kolour\x1b[0m \x1b[2Jclear \x1b]0;title\x07 \x1b[", "colour [2Jclear ]0;title ["),
        ("a\x0f\x1b[31mb\u200b\x9b0mc\x1b\x1b[Kd\x1b\x07[1me", "abcd[1me"),
        ("f\u3164ill\ufe0fe\u034fr\U000e0100s \u115fx", "fillers x"),
        ("line\u2028two\u2029three\x85four\nfive\r\nsix", "line two three four five six"),
        ("\u202egnp.exe\u202c \u2066x\u2069\u200f", "gnp.exe x"),
        ("zero\u200b\u200c\u200d\u2060\ufeffwidth", "zerowidth"),
        ("c1 \x9b31m \x90x\x9c del\x7f", "c1  x del"),
        ("nul\x00 tag\U000e0041 soft\xad lone\udc80", "nul tag soft lone"),
        ("tab\tvt\x0bff\x0cfs\x1c", "tab vt ff fs"),
    ],
)
def test_invisible_characters_are_removed(text: str, shown: str) -> None:
    """Characters that move the cursor, reorder a text, hide in it or end a line do not reach a log or an error."""
    assert redact.text(text) == shown
    assert redact.lines(text).replace("\n", "").isprintable()


def test_texts_are_bounded_and_on_one_line() -> None:
    """A foreign error text of a megabyte becomes one line of bounded length."""
    shown = redact.text("a\nb " * 500_000)
    assert len(shown) <= redact.MAX_TEXT_LENGTH + 1
    assert "\n" not in shown


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ-aaaaa-", "a-", "token ", "-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "password:\\\\",
        'token="', "://a:", "a:b@", "?token", "--a", "basic ", "cookie: ", "secret => ", "<token>", "s.", "pass\\",
        "eyJaaaaaa.", "--token ", "password",
    ],
)  # fmt: skip  # one line for each would hide the list
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
