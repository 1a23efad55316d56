"""Removes the node's startup taint once kubelet can use the driver, and the driver the providers that a flag names.

A node that registers itself with the taint ``<key>:NoExecute`` gets no pods that need this driver before the driver
runs; the driver's own pod tolerates the taint.

 1. Wait until the node's CSINode lists the driver: kubelet has registered it.
 2. Wait until each of the providers answers on its socket: a DaemonSet of its own starts it, sooner or later.
 3. Remove the taint from the Node and keep the others, by a PATCH with the resourceVersion that was read.
 4. If the Node has changed meanwhile (409), again from 1.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from driver.cluster.answers import Conflict
from driver.cluster.api import MERGE_PATCH, Api
from runtime import logs
from runtime.errors import Failure, NotFound, PermissionDenied

log = logs.get(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 10.0
FORBIDDEN_PAUSE = 60.0
PROVIDERS_PAUSE = 1.0
WAITING = "The startup taint is removed when these providers answer"
NOT_YET = "The startup taint cannot be removed yet"
FORBIDDEN = "The startup taint cannot be removed: the driver's account needs get csinodes, get and patch nodes"


Answers = Callable[[str], Awaitable[bool]]


async def remove_startup_taint(
    api: Api, node: str, driver: str, key: str, providers: Sequence[str], answers: Answers
) -> None:
    """Return when the node does not have the taint any more, however long that takes. ``answers`` is whether a provider
    answers now."""
    pause, logged = FIRST_PAUSE, ""
    while True:
        wait = pause
        try:
            if await _registered(api, node, driver):
                await _wait_for(providers, answers, key)
                if await _remove(api, node, key):
                    return
            logged = ""
        except Failure as failure:
            forbidden = isinstance(failure, PermissionDenied)
            if str(failure) != logged:  # once, not at each attempt
                logged = str(failure)
                log.warning(FORBIDDEN if forbidden else NOT_YET, taint=key, err=failure)
            if forbidden:
                wait = FORBIDDEN_PAUSE
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        pause = min(pause * 2, LAST_PAUSE)


async def _registered(api: Api, node: str, driver: str) -> bool:
    try:
        found = await api.call("GET", f"/apis/storage.k8s.io/v1/csinodes/{node}")
    except NotFound:
        return False  # kubelet creates it with the first driver
    return any(item.get("name") == driver for item in (found.get("spec") or {}).get("drivers") or ())


async def _wait_for(providers: Sequence[str], answers: Answers, key: str) -> None:
    """Return when all providers answer; each change is logged."""
    logged: Sequence[str] = ()
    while True:
        found = await asyncio.gather(*(answers(name) for name in providers))
        missing = [name for name, is_there in zip(providers, found, strict=True) if not is_there]
        if not missing:
            return
        if missing != logged:
            logged = missing
            log.info(WAITING, taint=key, providers=", ".join(missing))
        await asyncio.sleep(PROVIDERS_PAUSE)


async def _remove(api: Api, node: str, key: str) -> bool:
    """One attempt; whether the node is now without the taint."""
    path = f"/api/v1/nodes/{node}"
    found = await api.call("GET", path)
    taints = (found.get("spec") or {}).get("taints") or []
    kept = [taint for taint in taints if taint.get("key") != key]
    if len(kept) == len(taints):
        return True
    patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": {"taints": kept or None}}
    try:
        await api.call("PATCH", path, body=patch, content_type=MERGE_PATCH)
    except Conflict:
        return False
    log.info("Removed the startup taint", node=node, taint=key)
    return True
