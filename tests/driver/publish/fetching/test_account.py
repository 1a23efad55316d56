"""The service account of a request: from all of its tokens, or nobody's."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from driver.publish.fetching.account import account_of
from driver.publish.request import PublishRequest
from tests.support.accounts import TOKENS, token, with_token
from tests.support.rig import Rig, Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """A volume of a pod."""
    return Volume(cast(Rig, SimpleNamespace(pods_dir=tmp_path / "pods")))


def parse(volume: Volume, **options: Any) -> PublishRequest:
    """Its request."""
    return PublishRequest.parse(volume.request(), pods_dir=str(volume.rig.pods_dir), apply_group=False, **options)


def with_text(volume: Volume, text: str) -> Volume:
    """The volume, with this in place of kubelet's tokens."""
    volume.attributes = {TOKENS: text}
    return volume


def test_account(volume: Volume) -> None:
    """Tokens for two audiences → name, UID, audiences, and when they expire."""
    account = account_of(parse(with_token(volume, "app", ("vault", "aws"))))
    assert account is not None
    assert (account.name, account.uid, account.audiences) == ("app", "uid-of-app", ("aws", "vault"))
    assert account.expires > 1e9


def test_tokens_in_secrets(volume: Volume) -> None:
    """Kubelet sends the tokens as secrets (Kubernetes 1.35) → the same."""
    with_token(volume)
    attributes = dict(volume.attributes)
    volume.secrets = {TOKENS: attributes.pop(TOKENS)}
    volume.attributes = attributes
    account = account_of(parse(volume))
    assert account is not None and account.uid == "uid-of-default"


@pytest.mark.parametrize(
    "claims",
    [
        {"namespace": "other"},
        {"serviceaccount": {"name": "other", "uid": "u"}},
        {"serviceaccount": {"name": "default"}},
        {"serviceaccount": {"name": "default", "uid": ""}},
        {"serviceaccount": {"name": "default", "uid": 7}},
        {"serviceaccount": {"name": "default", "uid": ["u"]}},
        {"serviceaccount": None},
        {"pod": {"name": "pod-1", "uid": "another"}},
        {"pod": {"name": "pod-1"}},
    ],
)
def test_tokens_of_others(volume: Volume, claims: dict[str, Any]) -> None:
    """A token is not that of the pod's account → nobody's."""
    assert account_of(parse(with_token(volume, **claims))) is None


def test_two_accounts(volume: Volume) -> None:
    """The tokens name accounts with different UIDs → nobody's."""
    other = token(volume, serviceaccount={"name": "default", "uid": "another"})
    items = {
        name: {"token": text, "expirationTimestamp": "2036-01-01T00:00:00Z"}
        for name, text in {"a": token(volume), "b": other}.items()
    }
    assert account_of(parse(with_text(volume, json.dumps(items)))) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "7", "not JSON", '{"a": null}', '{"a": {"token": "x"}}', '{"a": {"token": "x.y.z"}}',
        '{"a": {"token": 7, "expirationTimestamp": ""}}', '{"a": {"token": "..", "expirationTimestamp": ""}}',
        '{"a": {"token": ".bnVsbA.", "expirationTimestamp": ""}}', "[" * 100_000,
        json.dumps({"a": {"token": "." + "W1tb" * 30_000 + ".", "expirationTimestamp": ""}}),
    ],
)  # fmt: skip  # one line for each would hide the list
def test_not_tokens(volume: Volume, text: str) -> None:
    """Anything else → nobody's, and no bug."""
    assert account_of(parse(with_text(volume, text))) is None


def test_tokens_of_the_pods_author(volume: Volume) -> None:
    """The CSIDriver object has no tokenRequests, so that tokens in the volume context are the author's → nobody's."""
    assert account_of(parse(with_token(volume), context_tokens=False)) is None
