"""Resources over HTTP: https://kubernetes.io/docs/reference/using-api/api-concepts/"""

import secrets

from aiohttp import web

from tests.support.fake_api.calls import Call
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.faults import refusal
from tests.support.fake_api.paths import Target
from tests.support.fake_api.representation import collection, representation
from tests.support.fake_api.resources import Resources
from tests.support.fake_api.selectors import matcher
from tests.support.fake_api.watching import Watches

VERSION: Object = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake", "platform": "linux/amd64"}
_HEALTH = ("/healthz", "/livez", "/readyz")


class Handlers:
    """Handles the calls that no fault struck."""

    def __init__(self, resources: Resources, watches: Watches) -> None:
        self._resources = resources
        self._watches = watches
        # The remaining items of paged lists and the version of each list, by continue token.
        self._rest: dict[str, tuple[list[Object], int]] = {}

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Handle any call."""
        try:
            if call.target is None:
                return _about_the_server(call)
            if call.verb == "watch":
                return await self._watches.stream(request, call, call.target)
            status, body = self._answer(call, call.target)
            return web.json_response(body, status=status)
        except ApiError as error:
            return refusal(error)

    def _answer(self, call: Call, target: Target) -> tuple[int, Object]:
        resources = self._resources
        shown = representation(call.headers)
        if call.verb == "list":
            return 200, self._list(call, target)
        if call.verb == "create":
            return 201, shown(resources.create(target, call.body))
        if not target.name:
            return 200, self._delete_all(call, target)
        if call.verb == "get":
            return 200, shown(resources.get(target))
        if call.verb == "update":
            return 200, shown(resources.replace(target, call.body))
        if call.verb == "patch":
            force = call.query.get("force") == "true"
            return 200, shown(resources.patch(target, call.headers.get("Content-Type", ""), call.body, force=force))
        if call.verb == "delete":
            return 200, resources.delete(target, call.body)
        raise ApiError(405, f"the fake API server knows no {call.method}")

    def _list(self, call: Call, target: Target) -> Object:
        limit, token = _number(call.query.get("limit", "0")), call.query.get("continue", "")
        if token:
            if token not in self._rest or self._rest[token][1] < self._resources.store.oldest:
                raise ApiError(410, "The provided continue parameter is too old")
            items, version = self._rest[token]
        else:
            matches = matcher(call.query)
            found, version = self._resources.listed(target)
            items = [item for item in found if matches(item)]
        metadata: Object = {"resourceVersion": str(version)}
        if limit and len(items) > limit:
            metadata["continue"], metadata["remainingItemCount"] = secrets.token_urlsafe(12), len(items) - limit
            self._rest[metadata["continue"]] = items[limit:], version
            items = items[:limit]
        return collection(target, self._resources.kind(target), items, metadata, call.headers)

    def _delete_all(self, call: Call, target: Target) -> Object:
        if call.verb != "deletecollection":
            raise ApiError(405, "the server does not allow this method on the requested resource")
        matches = matcher(call.query)
        found, version = self._resources.listed(target)
        gone = [item for item in found if matches(item)]
        for item in gone:
            metadata = item["metadata"]
            self._resources.delete(
                Target(target.group, target.version, target.resource, metadata.get("namespace", ""), metadata["name"])
            )
        return collection(target, self._resources.kind(target), gone, {"resourceVersion": str(version)}, call.headers)


def _about_the_server(call: Call) -> web.Response:
    if call.method == "GET" and call.path == "/version":
        return web.json_response(VERSION)
    if call.method == "GET" and call.path in _HEALTH:
        return web.Response(text="ok")
    raise ApiError(404, f"the server could not find the requested resource: {call.path}")


def _number(text: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise ApiError(400, f"not a number: {text}") from None
