"""Who asks: what decides which token of the store a pod gets."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

from provider_kit import InvalidRequest, MountRequest
from provider_openbao.settings import Auth, Server


@dataclass(frozen=True)
class Identity:
    """Whose token it is."""

    server: Server
    method: str
    mount: str
    role: str
    audience: str
    namespace: str
    service_account: str
    service_account_uid: str
    credentials: str = field(repr=False)


def identify(request: MountRequest, server: Server, auth: Auth) -> tuple[Identity, str]:
    """Who asks, and with which token of the pod's service account; the latter is empty if the login needs none."""
    jwt = "" if auth.method in ("approle", "token") else _pod_token(request, auth.audience)
    pod = request.pod
    digest = hashlib.sha256(json.dumps(dict(auth.credentials), sort_keys=True).encode()).hexdigest()
    identity = Identity(
        server,
        auth.method,
        auth.mount,
        auth.role,
        auth.audience,
        pod.namespace,
        pod.service_account,
        _service_account_uid(jwt),
        digest if auth.credentials else "",
    )
    return identity, jwt


def _pod_token(request: MountRequest, audience: str) -> str:
    if audience:
        return request.token(audience)
    tokens = request.tokens
    token = tokens.get("vault") or tokens.get("")
    if token is None:
        raise InvalidRequest(
            "no token of the pod's service account: add an audience, such as vault, to tokenRequests of the CSIDriver "
            "object, and name it in the parameter audience of the class"
        )
    return token.value


def _service_account_uid(jwt: str) -> str:
    """As the token says; kubelet has got it from the API server, so nobody else may have written it."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["kubernetes.io"]["serviceaccount"]["uid"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""
