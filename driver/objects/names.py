"""Which texts Kubernetes accepts as names and label values.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names and
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set have the rules.
"""

import re

LONGEST_NAME = 253
LONGEST_LABEL = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def is_object_name(text: str) -> bool:
    """Whether ``text`` is a DNS subdomain (RFC 1123), as the names of most objects must be."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Whether the API server accepts ``text`` as the value of a label."""
    return len(text) <= LONGEST_LABEL and _LABEL.fullmatch(text) is not None
