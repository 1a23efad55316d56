"""What a refused login is called: a sentence with the place in the class that is to be corrected."""

from provider_kit import Failure, InvalidRequest, NotFound, PermissionDenied, PreconditionFailed, Unavailable
from provider_openbao.client import Answer
from provider_openbao.identity import Identity
from provider_openbao.settings import Auth
from provider_openbao.texts import brief

# What AppRole and certificate auth say to a login with a token of a pod.
_OTHER_METHODS = ("missing role_id", "no client certificate", "missing username", "missing password")


def login_failure(identity: Identity, auth: Auth, answer: Answer) -> Failure:
    """The failure for a response without a token."""
    said, lower, address = answer.errors, answer.errors.lower(), identity.server.address
    mount, role = f"auth/{brief(auth.mount)}", repr(brief(auth.role))
    # A semicolon: what follows the server's words and a colon would be masked if these end with "token".
    what = f"login at {address}, {mount} failed (HTTP {answer.status}{': ' + said if said else ''});"
    if answer.ok:
        return InvalidRequest(
            f"{address} gives no token (HTTP {answer.status}), so it is no OpenBao or Vault server: check vaultAddress"
        )
    if "namespace not found" in lower:
        return NotFound(f"{what} correct vaultNamespace ({brief(identity.server.namespace)!r})")
    if answer.status == 404 or "no handler for route" in lower:
        return NotFound(f"{what} there is no such auth method; correct vaultAuthMountPath, or vaultNamespace")
    if "could not load configuration" in lower or "could not load backend configuration" in lower:
        return PreconditionFailed(f"{what} the auth method is not configured; write {mount}/config")
    if auth.method == "approle":
        return PermissionDenied(f"{what} correct role_id and secret_id in the node publish Secret")
    if any(words in lower for words in _OTHER_METHODS):
        return InvalidRequest(f"{what} {mount} is no Kubernetes or JWT auth method; correct vaultAuthMountPath")
    if answer.status >= 500:
        return Unavailable(f"{what} the server's log has the details")
    if "role" in lower and any(words in lower for words in ("could not be found", "invalid role", "not found")):
        return NotFound(f"{what} correct roleName ({role}), or create that role")
    if "relative paths" in lower:
        return InvalidRequest(f"{what} correct roleName ({role})")
    if "audience" in lower or "(aud)" in lower:
        return PermissionDenied(f"{what} audience in the class must be one that the role {role} is bound to")
    if "signature" in lower:
        return PermissionDenied(
            f"{what} {mount} does not know the keys of this cluster; correct {mount}/config, or vaultAuthMountPath"
        )
    if "expired" in lower:
        return PermissionDenied(f"{what} the pod's token has expired; compare the clocks of node and server")
    account = f"{identity.namespace}/{identity.service_account}"
    remedy = f"role {role} must allow the service account {account}; correct the role, or roleName"
    if lower == "permission denied":
        # All that a server says to strangers: also if there is no such auth method, or if it cannot review the token.
        where = ", or vaultNamespace" if identity.server.namespace else ""
        remedy += f"; or there is no auth method {mount}: correct vaultAuthMountPath{where}"
        remedy += "; or the server could not verify the token: its log has the reason"
    return PermissionDenied(f"{what} {remedy}")
