"""Lists a collection in pages, so that only one of them is in memory as JSON at a time.

All pages show the collection at one resourceVersion, which the API server keeps for about five minutes. When a list
takes longer, the next page is a 410, raised as Expired: whoever needs the whole collection lists it again from the
start, and forgets what came before, which may be too old for a watch to start at.
https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple

from driver.cluster.api import JSON, Api

Object = dict[str, Any]


class ListPage(NamedTuple):
    """Some of a collection's objects, and the resourceVersion of the collection, at which a watch may start."""

    items: Sequence[Object]
    version: str


async def pages(
    api: Api,
    path: str,
    size: int,
    *,
    most: int | None = None,
    query: Mapping[str, str] | None = None,
    accept: str = JSON,
) -> AsyncGenerator[ListPage, None]:
    """The objects at ``path``, or about the first ``most``, in pages of at most ``size``; an empty collection has one
    empty page. ``query`` is sent with each page, such as a selector. Raises the failures of ``Api.call``, Expired among
    them."""
    sent, requested = {**(query or {}), "limit": str(size)}, 0
    while True:
        page = await api.call("GET", path, query=sent, accept=accept)
        metadata = page["metadata"]
        yield ListPage(page.get("items") or (), str(metadata.get("resourceVersion", "")))
        requested += size
        token = metadata.get("continue")
        if not token or (most is not None and requested >= most):
            return
        sent["continue"] = str(token)
