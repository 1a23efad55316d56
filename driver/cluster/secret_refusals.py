"""What to do about an API server that refuses a Secret."""

from collections.abc import Iterator
from contextlib import contextmanager

from driver.sync.wanted import Wanted
from runtime.errors import Failure, InvalidRequest, PermissionDenied, PreconditionFailed, Unavailable


@contextmanager
def explained(wanted: Wanted) -> Iterator[None]:
    """Say what to do about a rejection."""
    try:
        yield
    except PermissionDenied as failure:
        raise PermissionDenied(forbidden(wanted, failure)) from None
    except InvalidRequest as failure:
        raise PreconditionFailed(
            f"the Secret {wanted} is refused: {failure}; correct spec.secretObjects of class {wanted.class_name}"
        ) from None
    except Unavailable as failure:
        raise Unavailable(
            f"the Secret {wanted} cannot be written, and will be tried again: {failure}; a webhook of the cluster "
            "fails: see its pods, or let it leave out this Secret"
        ) from None


def is_refused_by_policy(failure: Failure) -> bool:
    """Whether one of the cluster's ValidatingAdmissionPolicies refuses it."""
    return "(ValidatingAdmissionPolicy " in str(failure)


def forbidden(wanted: Wanted, failure: Failure) -> str:
    """What to do about a 403. Its hint is in brackets, so the name of a namespace cannot be mistaken for one."""
    text = str(failure)
    if "(exceeded quota)" in text:
        return (
            f"Secret {wanted} cannot be written: the namespace's quota for Secrets is used up; "
            "raise the quota or remove Secrets"
        )
    if "you can't delete)" in text:
        return (
            f"Secret {wanted} cannot get another owner, and may be deleted with the ones that it has: this cluster's "
            "admission (OwnerReferencesPermissionEnforcement) requires the right to delete for that; install the chart "
            "with rbac.ownerReferencesPermissionEnforcement=true, which adds delete on secrets to the driver's role"
        )
    if "(admission webhook " in text or "(ValidatingAdmissionPolicy " in text:
        return f"Secret {wanted} is refused by the cluster's own policy: {failure}"
    if "(because it is being terminated)" in text:
        return f"Secret {wanted} cannot be written: its namespace is being deleted"
    return rights_missing(wanted.namespace, failure)


def rights_missing(namespace: str, failure: Failure) -> str:
    """The sentence for a 403 that is one of the roles."""
    return (
        f"the driver may not write Secrets in namespace {namespace}: install the chart with "
        "syncSecret.enabled=true (and this namespace among syncSecret.namespaces, if that is set), "
        f"or remove secretObjects from the class ({failure})"
    )
