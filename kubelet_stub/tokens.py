"""Service account tokens as kubelet gets them from the API server: RS256, bound to the pod, one per audience."""

import base64
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kubelet_stub.pods import Pod
from runtime.timestamps import timestamp

ISSUER = "https://kubernetes.default.svc.cluster.local"
CONTEXT_KEY = "csi.storage.k8s.io/serviceAccount.tokens"
# The fraction of its lifetime after which kubelet's token manager renews a token.
_RENEW_AFTER = 0.8


@dataclass(frozen=True)
class _Token:
    text: str
    issued: float
    expires: float


class TokenIssuer:
    """Issues tokens, signed with a key that is generated for the first one; verify them with ``public_key_pem``."""

    def __init__(self, lifetime: float, node: str) -> None:
        self._lifetime, self._node = lifetime, node
        self._private: rsa.RSAPrivateKey | None = None
        self._cache: dict[tuple[str, str], _Token] = {}

    def attribute(self, pod: Pod, audiences: Sequence[str]) -> dict[str, str]:
        """The volume context entry with the tokens: a JSON object that maps each audience to ``token`` and
        ``expirationTimestamp`` (https://kubernetes-csi.github.io/docs/token-requests.html). Empty without audiences.
        """
        if not audiences:
            return {}
        tokens = {audience: self._token(pod, audience) for audience in audiences}
        return {
            CONTEXT_KEY: json.dumps(
                {
                    audience: {"token": token.text, "expirationTimestamp": timestamp(token.expires)}
                    for audience, token in tokens.items()
                }
            )
        }

    def public_key_pem(self) -> str:
        """The public key, as PEM."""
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
        token, now = self._cache.get((pod.uid, audience)), time.time()
        if token is None or now >= token.issued + _RENEW_AFTER * self._lifetime:
            token = _Token(self._sign(pod, audience, now), now, now + self._lifetime)
            self._cache[pod.uid, audience] = token
        return token

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
