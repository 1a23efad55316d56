"""A simple synchronous API client for tests, which thus do not depend on the driver's client."""

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.support.waiting import wait_until

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused; ``status`` is the HTTP code, ``reason`` Kubernetes' name of it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


class Api:
    """Calls to one API server with one identity, on one persistent connection for each thread.

    Paths are as the API has them: ``/api/v1/namespaces/x/pods/y``. Failures to connect are ``OSError``.
    """

    def __init__(
        self,
        server: str,
        context: ssl.SSLContext,
        token: str | None = None,
        *,
        timeout: float = 30,
    ) -> None:
        self._address = urlsplit(server).netloc
        self._context = context
        self._token = token
        self._timeout = timeout
        self._local = threading.local()
        self._resources: dict[str, list[Object]] = {}

    def get(self, path: str, **query: str) -> Object:
        """GET, of one object or of a list."""
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Object | None:
        """GET; ``None`` if it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, body: Object, **query: str) -> Object:
        """POST an object to the collection of its kind and namespace."""
        return self.request("POST", self.path(body, collection=True), body, query=query)

    def apply(self, body: Object, **query: str) -> Object:
        """Server-side apply an object with force, as the field manager "tests" unless the query names another."""
        query = {"fieldManager": "tests", "force": "true", **query}
        return self.request("PATCH", self.path(body), body, content_type=APPLY, query=query)

    def patch(self, path: str, body: Object, **query: str) -> Object:
        """Merge patch; ``None`` removes a key."""
        return self.request("PATCH", path, body, content_type=MERGE, query=query)

    def delete(self, path: str, propagation: str = "Background") -> None:
        """Delete without a grace period, because no kubelet would end it; a missing object is no error."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "propagationPolicy": propagation,
        }
        try:
            self.request("DELETE", path, options)
        except ApiError as error:
            if error.status != 404:
                raise

    def until(self, path: str, condition: Callable[[Object | None], bool], seconds: float = 30) -> Object | None:
        """GET until ``condition`` holds (``None``: no such object); ``TimeoutError`` shows the last state."""
        found: Object | None = None

        def holds() -> bool:
            nonlocal found
            found = self.find(path)
            return condition(found)

        wait_until(holds, lambda: f"{path} to be as expected; it is {json.dumps(found)}", seconds, pause=0.05)
        return found

    def open(self, path: str, **query: str) -> http.client.HTTPResponse:
        """Start a GET, such as a watch, on a connection of its own; its lines can be read from the returned
        response."""
        answer = self.fetch(path, **query)
        if answer.status != 200:
            raise _error(answer.status, answer.read())
        return answer

    def fetch(self, path: str, **query: str) -> http.client.HTTPResponse:
        """GET on a connection of its own; returns the response, error or not."""
        connection = http.client.HTTPSConnection(self._address, context=self._context, timeout=self._timeout)
        # The response then owns the connection and closes it.
        headers = {**self._headers(), "Connection": "close"}
        connection.request("GET", f"{path}?{urlencode(query)}", headers=headers)
        return connection.getresponse()

    def path(self, body: Object, *, collection: bool = False) -> str:
        """The path of an object, or of the collection that it belongs to."""
        version, kind, metadata = body["apiVersion"], body["kind"], body["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        resource = self._resource(root, kind)
        if resource["namespaced"]:
            root += f"/namespaces/{metadata.get('namespace', 'default')}"
        return f"{root}/{resource['name']}" + ("" if collection else f"/{metadata['name']}")

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """One call; returns the response's JSON, or raises ``ApiError``."""
        headers = {"Content-Type": content_type, **self._headers(), **(headers or {})}
        target = f"{path}?{urlencode(query)}" if query else path
        status, raw = self._exchange(method, target, None if body is None else json.dumps(body), headers)
        if status < 300:
            return json.loads(raw) if raw.startswith(b"{") else {"text": raw.decode()}
        raise _error(status, raw)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "tests"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _exchange(self, method: str, target: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send on the persistent connection; if it is closed, as after a restart, retry once on a new one."""
        for fresh in (False, True):
            connection = self._connection(fresh)
            try:
                connection.request(method, target, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.HTTPException, ssl.SSLError):
                connection.close()
                if fresh:
                    raise
        raise AssertionError("not reached")

    def _connection(self, fresh: bool) -> http.client.HTTPSConnection:
        kept: _Kept | None = getattr(self._local, "kept", None)
        if kept is None or fresh:
            kept = _Kept(http.client.HTTPSConnection(self._address, context=self._context, timeout=self._timeout))
            self._local.kept = kept
        return kept.connection

    def _resource(self, root: str, kind: str) -> Object:
        """The API resource of a kind, from discovery, which is repeated for an unknown kind."""
        for known in (True, False):
            if not known or root not in self._resources:
                self._resources[root] = self.get(root)["resources"]
            for resource in self._resources[root]:
                if resource["kind"] == kind and "/" not in resource["name"]:
                    found: Object = resource
                    return found
        raise LookupError(f"the API server knows no {kind} under {root}")


class _Kept:
    """A persistent connection, closed when its thread ends, or with the client."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


def _error(status: int, raw: bytes) -> ApiError:
    answer = json.loads(raw) if raw.startswith(b"{") else {"message": raw.decode(errors="replace")}
    return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
