"""What the controller needs from the API server; ``server`` puts the implementations together."""

from typing import Protocol

from driver.objects.secret_syncs import Object, SecretSync, SyncRef
from driver.ports import ClassListener, ClassRef, ProviderClass


class Classes(Protocol):
    """The SecretProviderClasses in use."""

    async def get(self, class_ref: ClassRef) -> ProviderClass:
        """The class, cached and kept up to date. Raises NotFound."""

    def forget(self, class_ref: ClassRef) -> None:
        """No SecretSync uses the class any more."""

    def on_change(self, listener: ClassListener) -> None:
        """Call ``listener`` when a cached class was changed or deleted, or a missing one may exist."""


class Tokens(Protocol):
    """Service account tokens for providers."""

    async def get(self, namespace: str, service_account: str) -> str:
        """A token for each audience that is configured, as kubelet sends them to drivers: JSON by audience; empty if
        none is. Raises a Failure that says what to do."""


class Secrets(Protocol):
    """Secrets that are written and never read."""

    async def apply(self, secret: Object, *, first: bool) -> str:
        """Make the Secret what it should be; returns its resourceVersion.

        ``first``: nobody knows that the Secret is as this SecretSync has written it, so one that exists may be
        somebody else's, and is then left alone.
        Raises a Failure with the API server's own text.
        """

    async def is_unchanged(self, ref: SyncRef, version: str) -> bool:
        """Whether the Secret exists and still has this resourceVersion. Raises a Failure."""


class Statuses(Protocol):
    """The status of SecretSyncs."""

    async def write(self, ref: SyncRef, status: Object) -> None:
        """Merge into the status; a SecretSync that is gone is no failure. Raises a Failure."""


class Events(Protocol):
    """Events on SecretSyncs."""

    def send(self, sync: SecretSync, *, warning: bool, reason: str, message: str) -> None:
        """Create an event, or count it if its series exists; does not block."""
