"""The fake API server: objects, watches, faults and a log of calls at one URL."""

import functools
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.support.fake_api import admission, paths
from tests.support.fake_api.calls import Call
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.faults import refusal
from tests.support.fake_api.handlers import Handlers
from tests.support.fake_api.loopback import LoopbackServer
from tests.support.fake_api.resources import MERGE_PATCH, Admitter, Resources
from tests.support.fake_api.store import Store
from tests.support.fake_api.watching import Watches

HOSTS = ("127.0.0.1", "localhost")


@functools.cache
def _unused_authority() -> Authority:
    """For clients over plain HTTP: without any they read all that the machine trusts, in 40 ms of CPU time each."""
    return Authority("unused")


class FakeApi(LoopbackServer):
    """A context manager; it uses TLS if given an ``authority``, and a free port if given none. The methods that read
    and write objects bypass HTTP, faults and log, and may be called from any thread; paths are those of the API."""

    def __init__(
        self, authority: Authority | None = None, address: str = HOSTS[0], port: int = 0, store: Store | None = None
    ) -> None:
        certificate = None if authority is None else authority.server((address, *HOSTS))
        super().__init__("fake-api", certificate, address, port)
        self.authority = authority
        self.store = Store() if store is None else store
        self.resources = Resources(self.store)
        self.watches = Watches(self.store, self.rules, self.loop)
        self._handlers = Handlers(self.resources, self.watches)
        self.tokens: Mapping[str, str] | None = None
        """The user of each accepted bearer token; None accepts all calls."""
        admission.install(self.resources)
        self.resources.reviewers["tokenreviews"] = self._review_token

    def create(self, item: Object) -> Object:
        """Create an object in the collection of its kind and namespace."""
        collection = paths.path_of(item).rpartition("/")[0]
        return self.resources.create(paths.parse(collection), item)

    def apply(self, item: Object) -> Object:
        """Create or replace an object."""
        path = paths.path_of(item)
        if self.find(path) is None:
            return self.create(item)
        return self.resources.replace(paths.parse(path), item)

    def get(self, path: str) -> Object:
        """An object, or a collection as ``{"items": […]}``. Raises ApiError."""
        target = paths.parse(path)
        return self.resources.get(target) if target.name else {"items": self.resources.listed(target)[0]}

    def find(self, path: str) -> Object | None:
        """An object; None if it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def patch(self, path: str, body: Object) -> Object:
        """Apply a JSON merge patch, in which None removes a key."""
        return self.resources.patch(paths.parse(path), MERGE_PATCH, body)

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        target = paths.parse(path)
        if self.find(path) is not None:
            self.resources.delete(target)

    def admit(self, resource: str, admitter: Admitter) -> None:
        """Call ``admitter`` with each write of a resource (``*``: any); it may change the object or raise ApiError."""
        self.resources.admitters.append((resource, admitter))

    def end_watches(self) -> None:
        """End all open watches normally."""
        self.run(self.watches.end())

    def send_bookmarks(self) -> None:
        """Send a bookmark to all open watches."""
        self.run(self.watches.bookmark())

    def kubeconfig(self, path: Path, token: str = "token") -> str:
        """Write a kubeconfig for this server and return its path."""
        return str(kubeconfig.write(path, self.url, (self.authority or _unused_authority()).pem, token))

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Implements ``LoopbackServer``."""
        if self.tokens is not None and call.token not in self.tokens:
            return refusal(ApiError(401, "Unauthorized"))
        return await self._handlers.answer(request, call)

    def _review_token(self, review: Object) -> Object:
        user = (self.tokens or {}).get(review.get("spec", {}).get("token", ""))
        return {"authenticated": user is not None, "user": {"username": user} if user is not None else {}}
