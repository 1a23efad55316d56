"""Service account tokens as the API server issues them for kubelet: RS256, bound to the pod, one for each audience."""

import base64
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kubelet_stub.pods import Pod

ISSUER = "https://kubernetes.default.svc.cluster.local"
CONTEXT_KEY = "csi.storage.k8s.io/serviceAccount.tokens"
# kubelet's token manager renews after this part of a token's life.
_RENEW_AFTER = 0.8


@dataclass(frozen=True)
class _Token:
    text: str
    issued: float
    expires: float


class TokenIssuer:
    """Signs with a key of its own, made at the first token; providers that verify may be given ``public_key_pem``."""

    def __init__(self, lifetime: float, node: str) -> None:
        self._lifetime, self._node = lifetime, node
        self._private: rsa.RSAPrivateKey | None = None
        self._kept: dict[tuple[str, str], _Token] = {}

    def attribute(self, pod: Pod, audiences: Sequence[str]) -> dict[str, str]:
        """The one entry that kubelet adds: a JSON object audience → token and expirationTimestamp (spec A.11)."""
        if not audiences:
            return {}
        found = {audience: self._token(pod, audience) for audience in audiences}
        return {
            CONTEXT_KEY: json.dumps(
                {
                    audience: {"token": token.text, "expirationTimestamp": _rfc3339(token.expires)}
                    for audience, token in found.items()
                }
            )
        }

    def public_key_pem(self) -> str:
        """The key to verify with."""
        return (
            self._key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def _key(self) -> rsa.RSAPrivateKey:
        if self._private is None:
            self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._private

    def _token(self, pod: Pod, audience: str) -> _Token:
        kept, now = self._kept.get((pod.uid, audience)), time.time()
        if kept is None or now >= kept.issued + _RENEW_AFTER * self._lifetime:
            kept = _Token(self._sign(pod, audience, now), now, now + self._lifetime)
            self._kept[pod.uid, audience] = kept
        return kept

    def _sign(self, pod: Pod, audience: str, now: float) -> str:
        claims = {
            "aud": [audience or ISSUER],
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{pod.namespace}:{pod.service_account}",
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now + self._lifetime),
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": pod.namespace,
                "node": {"name": self._node},
                "pod": {"name": pod.name, "uid": pod.uid},
                "serviceaccount": {
                    "name": pod.service_account,
                    "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, pod.service_account)),
                },
            },
        }
        signed = f"{_encoded({'alg': 'RS256', 'kid': 'kubelet-stub', 'typ': 'JWT'})}.{_encoded(claims)}"
        return f"{signed}.{_base64url(self._key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(part: object) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
