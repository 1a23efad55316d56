"""A Kubernetes client without any comfort: calls, status codes and JSON as they are."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

NO_HEADERS: Mapping[str, str] = {}
MERGE = {"Content-Type": "application/merge-patch+json"}
PARTIAL = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}


def a_class(name: str = "app", **metadata: Any) -> dict[str, Any]:
    """A custom object."""
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": name, **metadata},
        "spec": {"provider": "stub"},
    }


def a_secret(name: str = "s", **fields: Any) -> dict[str, Any]:
    """A built-in object."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


class PlainClient:
    """Calls to one API server, each over a connection of its own."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        self._url = urlsplit(url)
        self._context = context

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = NO_HEADERS) -> tuple[int, Any]:
        """Status code and body, parsed if it is JSON; a ``body`` that is a string is sent as it is."""
        connection = self._connect()
        try:
            text = body if isinstance(body, str) or body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            raw = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(raw) if is_json else raw.decode()
        finally:
            connection.close()

    @contextmanager
    def watch(self, path: str, query: str = "", headers: Mapping[str, str] = NO_HEADERS) -> Iterator["Watch"]:
        """A watch that is open for as long as the context lasts."""
        connection = self._connect()
        try:
            connection.request("GET", f"{path}?watch=true&{query}", headers=dict(headers))
            yield Watch(connection.getresponse())
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=10)
        return http.client.HTTPSConnection(host, port, timeout=10, context=self._context)


class Watch:
    """The events of an open watch."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def next(self) -> tuple[str, Any]:
        """Type and object of the next event; both are empty at the end of the watch."""
        line = self._answer.readline()
        event: dict[str, Any] = json.loads(line) if line else {"type": "", "object": {}}
        return event["type"], event["object"]
