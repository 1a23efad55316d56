"""The API server's audit log: who made which calls, counted by verb and resource."""

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Api
from tests.support.waiting import wait_until

# One event a call is enough for counting. A watch's first event is written when it opens, not when it ends.
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Call:
    """One call to the API server; ``resource`` is plural with its subresource ("pods/status"), or the bare path."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    agent: str
    uri: str


class AuditLog:
    """Reads the log that a running API server writes."""

    def __init__(self, path: Path, api: Api) -> None:
        self._path = path
        self._api = api

    def mark(self) -> int:
        """The log's position now: ``calls`` since it are those that end (watches: begin) after this moment."""
        self._fence()
        return self._path.stat().st_size

    def calls(self, since: int = 0, user: str | None = None) -> list[Call]:
        """All calls answered so far, oldest first, of one user or of all, without those of the fences."""
        self._fence()
        seen = set()
        calls = []
        with self._path.open("rb") as log:
            log.seek(since)
            for line in log.read().rpartition(b"\n")[0].splitlines():
                event = json.loads(line)
                if event["auditID"] not in seen and _FENCE not in event["requestURI"]:
                    seen.add(event["auditID"])
                    calls.append(_call(event))
        return [call for call in calls if user is None or call.user == user]

    def count(self, since: int = 0, user: str | None = None) -> Counter[tuple[str, str]]:
        """Number of calls by (verb, resource), say ``{("watch", "secretproviderclasses"): 1}``."""
        return Counter((call.verb, call.resource) for call in self.calls(since, user))

    def count_by_user(self, since: int = 0) -> Counter[tuple[str, str, str]]:
        """Number of calls by (user, verb, resource)."""
        return Counter((call.user, call.verb, call.resource) for call in self.calls(since))

    def _fence(self) -> None:
        """Make a call and wait for its line: the lines of all calls that were answered before are then written, too.

        The server writes a line when the call's handler ends, which may be a moment after the client has its response.
        """
        name = f"{_FENCE}{uuid.uuid4()}"
        start = self._path.stat().st_size if self._path.exists() else 0
        self._api.find(f"/api/v1/namespaces/{name}")
        wait_until(lambda: self._holds(name.encode(), start), f"the line of a call in {self._path}")

    def _holds(self, text: bytes, start: int) -> bool:
        """Whether a complete line after ``start`` contains ``text``."""
        with self._path.open("rb") as log:
            log.seek(start)
            return text in log.read().rpartition(b"\n")[0]


_FENCE = "audit-fence-"


def service_account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def _call(event: dict[str, object]) -> Call:
    target, status = event.get("objectRef"), event.get("responseStatus")
    target = target if isinstance(target, dict) else {}
    status = status if isinstance(status, dict) else {}
    user = event["user"]
    assert isinstance(user, dict)
    resource = target.get("resource") or str(event["requestURI"]).partition("?")[0]
    if target.get("subresource"):
        resource += f"/{target['subresource']}"
    return Call(
        str(user.get("username", "")),
        str(event["verb"]),
        resource,
        target.get("namespace", ""),
        target.get("name", ""),
        int(status.get("code", 0)),
        str(event.get("userAgent", "")),
        str(event["requestURI"]),
    )
