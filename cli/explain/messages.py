"""What kubelet's message about a failed mount means, by the phrases of the driver's errors (docs/operations.md)."""

import re
from collections.abc import Sequence

from cli.cluster import Object

_VOLUME = re.compile(r'MountVolume\.SetUp failed for volume "([^"]+)"')
_RPC = re.compile(r"rpc error: code = \w+ desc = ")
_STEP = re.compile(r"failed to mount secrets store objects for pod \S+, err: ")
_PROVIDER = re.compile(r'error connecting to provider "([^"]*)"')
_INSTALLED = re.compile(r"on this node there are: ([^;)]*)")
# Phrase, and what to do. The first one that is in the message counts.
_ADVICE = (
    ("the API server does not answer", "Look at the node's network and the driver's log; kubelet tries again."),
    ("not found in the YAML files", "Put the class into the directory of --manifests."),
    ("failed to get secretproviderclass", "Correct the class; kubelet tries again."),
    ("failed to create secret provider class pod status", "With 403 the chart's roles are missing: install them."),
    ("spec.files", "Correct spec.files of the class."),
    ("memory", "Raise the memory limit of the driver's container, or mount less."),
    ("deadline", "The provider or its store is slow or does not answer: look at the log of the provider's pod."),
    ("ermission", "Give the pod's service account, or its role in the store, the right to read the secret."),
    ("orbidden", "Give the pod's service account, or its role in the store, the right to read the secret."),
    ("403", "Give the pod's service account, or its role in the store, the right to read the secret."),
)


def volume_of(message: str) -> str:
    """The volume that a message is about, empty if it names none."""
    found = _VOLUME.search(message)
    return found[1] if found else ""


def cause_of(message: str, volumes: Sequence[Object]) -> tuple[str, str]:
    """The cause, and what to do, from the message of a ``FailedMount``."""
    volume = volume_of(message)
    if volume and volume not in [item["name"] for item in volumes]:
        return f"volume {volume}, which is not the driver's, is not mounted: {message}", "This is not the driver's."
    text = _RPC.split(message)[-1]
    text = _STEP.sub("", text).strip()
    provider = _PROVIDER.search(text)
    if provider and ("provider not found" in text or "invalid provider" in text):
        installed = _INSTALLED.search(text)
        names = f"; installed are: {installed[1]}" if installed else ""
        return (
            f'provider "{provider[1]}" is not installed on the node{names}',
            "Install it, or correct spec.provider of the class.",
        )
    if provider:
        return (
            f'provider "{provider[1]}" does not answer: {text}',
            "Look at the pod of the provider on this node.",
        )
    return text, next((advice for phrase, advice in _ADVICE if phrase in text), "Kubelet tries again.")
