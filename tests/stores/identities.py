"""Service account tokens of the tests' own issuer, and the two auth methods of OpenBao that take them."""

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.stores.openbao import OpenBao
from tests.support.fake_api import FakeApi

ISSUER = "https://kubernetes.default.svc"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
ACCOUNT = "csi.storage.k8s.io/serviceAccount.name"


class Issuer:
    """Signs tokens as the API server does (RS256)."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        """In PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def token(
        self, account: str = "default", audience: str = "vault", *, namespace: str = "default", lifetime: float = 3600.0
    ) -> str:
        """A token of a service account, with a UID that its name decides; of the past if ``lifetime`` is negative."""
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "aud": [audience],
            "iat": int(time.time() + min(lifetime, 0) * 2),
            "nbf": int(time.time() + min(lifetime, 0) * 2),
            "exp": int(time.time() + lifetime),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": f"uid-of-{account}"}},
        }
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{signed}.{_base64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def attributes(self, account: str = "default", audience: str = "vault", **options: Any) -> dict[str, str]:
        """What kubelet adds to a volume of a pod with this service account."""
        token = self.token(account, audience, **options)
        tokens = {audience: {"token": token, "expirationTimestamp": "2036-01-01T00:00:00Z"}}
        return {TOKENS: json.dumps(tokens), ACCOUNT: account}


def enable_jwt(bao: OpenBao, issuer: Issuer) -> None:
    """The auth method at auth/jwt, which verifies the signature itself."""
    bao.write("sys/auth/jwt", type="jwt")
    bao.write("auth/jwt/config", jwt_validation_pubkeys=[issuer.public_key], bound_issuer=ISSUER)


def jwt_role(bao: OpenBao, name: str, account: str, *policies: str, **options: Any) -> None:
    """A role for one service account of the namespace default."""
    settings = {
        "role_type": "jwt",
        "bound_audiences": ["vault"],
        "bound_subject": f"system:serviceaccount:default:{account}",
        "user_claim": "sub",
        "token_policies": list(policies),
        "token_ttl": "1h",
    }
    bao.write(f"auth/jwt/role/{name}", **settings | options)


def prepare_app(bao: OpenBao, issuer: Issuer) -> None:
    """Initialize a new server, with the secret ``secret/app`` and the role ``app``, which may read it, for the service
    account default."""
    bao.initialize()
    enable_jwt(bao, issuer)
    bao.write("sys/mounts/secret", type="kv", options={"version": "2"})
    # The engine upgrades itself for a moment after it was mounted.
    bao.retry(lambda: bao.put("app", password="one"))
    bao.policy("app", "secret/data/app read")
    jwt_role(bao, "app", "default", "app")


def enable_kubernetes(bao: OpenBao, api: FakeApi) -> None:
    """The auth method at auth/kubernetes, which asks the API server who a token is."""
    bao.write("sys/auth/kubernetes", type="kubernetes")
    authority = api.authority.pem.decode() if api.authority is not None else ""
    bao.write(
        "auth/kubernetes/config", kubernetes_host=api.url, kubernetes_ca_cert=authority, token_reviewer_jwt="reviewer"
    )
    api.resources.reviewers["tokenreviews"] = _review


def _review(review: dict[str, Any]) -> dict[str, Any]:
    claims = json.loads(base64.urlsafe_b64decode(review["spec"]["token"].split(".")[1] + "=="))
    audiences = review["spec"].get("audiences") or claims["aud"]
    if not set(audiences) & set(claims["aud"]):
        return {"authenticated": False, "error": "invalid audience"}
    uid = claims["kubernetes.io"]["serviceaccount"]["uid"]
    return {"authenticated": True, "user": {"username": claims["sub"], "uid": uid}, "audiences": audiences}


def _part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
