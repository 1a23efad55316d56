"""What Kubernetes takes as the name of an object (RFC 1123 subdomain: apimachinery's validation.IsDNS1123Subdomain)."""

import re

LONGEST_NAME = 253
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_object_name(text: str) -> bool:
    """Lower case letters, digits, '-' and '.', at most LONGEST_NAME of them."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None
