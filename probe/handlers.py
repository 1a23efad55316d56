"""The HTTP handlers: /healthz, /livez, /readyz, /metrics, /status, and the status page at /. No response contains a
secret, a token or a volume attribute."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from probe.config import ProbeConfig
from probe.driver import DriverProbe
from probe.last_known import LastKnown
from probe.processes import Processes
from runtime import http, metrics
from runtime.version import build

REGISTERED = "registered"
PROVIDERS = "providers"
_JSON = "application/json; charset=utf-8"
_HTML = "text/html; charset=utf-8"
METRICS_LINK = "for Prometheus"
LINKS = {
    "/status": "the same as JSON",
    "/readyz": "does a new pod get its volume?",
    "/healthz": "does the driver answer?",
    "/livez": "does the container run?",
    "/metrics": METRICS_LINK,
}
"""What the status page links, where the metrics are at the same address under their usual path."""


class Handlers:
    """One method for each path."""

    def __init__(
        self, config: ProbeConfig, driver: DriverProbe, processes: Processes, registry: CollectorRegistry
    ) -> None:
        self._config = config
        self._driver = driver
        self._processes = processes
        self._registry = registry
        self._roles = LastKnown(config.status_directory)
        self._registration = _RegistrationMetric()
        # What costs more than a look: /healthz joins a check that runs anyway.
        self.metrics_page = http.SharedPage(self.metrics)
        self._readyz_pages = {
            excluded: http.SharedPage(partial(self._readyz, excluded)) for excluded in ("", PROVIDERS)
        }
        self._status_json, self._status_html = http.SharedPage(self.status), http.SharedPage(self.status_page)
        registry.register(processes)
        registry.register(self._registration)

    def routes(self) -> dict[str, http.Handler]:
        """Path → handler of the health checks' address. The metrics are left out if they have a server of their own,
        and the status pages unless they are opened to everybody who reaches this address."""
        own: dict[str, http.Handler] = {"/healthz": self.healthz, "/livez": self.livez, "/readyz": self.readyz}
        if self._config.status_pages_are_open:
            own |= self.status_routes()
        if self._config.http_endpoint:
            own[self._config.metrics_path] = self.metrics_page
        return own

    def status_routes(self) -> dict[str, http.Handler]:
        """Path → handler of the status pages, which show the pods, classes and provider errors of all tenants. At an
        address of their own the others are there, too: whoever forwards that port needs no second one."""
        found: dict[str, http.Handler] = {"/status": self._status_json, "/": self._status_html}
        own = self._config.status_pages
        if own is None:
            return found
        found = {**self.routes(), **found}
        return {path: http.local_only(handler) for path, handler in found.items()} if http.is_loopback(own) else found

    def links(self) -> dict[str, str]:
        """Path → what it is, of what the status page's address serves."""
        found = {path: what for path, what in LINKS.items() if what != METRICS_LINK}
        return found | {self._config.metrics_path: METRICS_LINK} if self._config.http_endpoint else found

    async def healthz(self, _: http.Request) -> http.Response:
        """As livenessprobe: 200 ``ok``, or 500 with the reason."""
        result = await self._driver.check()
        return http.text_response(result.text, 200 if result.healthy else 500)

    async def livez(self, _: http.Request) -> http.Response:
        """200 while this process answers and supervisord, if it was started by one, is still its parent."""
        if self._processes.orphaned:
            return http.text_response("supervisord is gone", 500)
        return http.text_response("ok")

    async def readyz(self, request: http.Request) -> http.Response:
        """503 with every reason why a new pod would not get its volume, one per line. With ``exclude=providers`` a
        missing provider is none: it is installed after the driver, which must not wait for it to be ready."""
        *_, excluded = parse_qs(request.query).get("exclude", [""])
        if excluded not in self._readyz_pages:
            return http.text_response(f"only exclude={PROVIDERS} is known", 400)
        return await self._readyz_pages[excluded](request)

    async def _readyz(self, excluded: str, _: http.Request) -> http.Response:
        reasons = self._reasons(await self._state(), with_providers=excluded != PROVIDERS)
        return http.text_response("ok" if not reasons else "\n".join(reasons), 503 if reasons else 200)

    async def status(self, _: http.Request) -> http.Response:
        """Everything known, as JSON."""
        return http.text_response(json.dumps(await self._state(), indent=1), content_type=_JSON)

    async def metrics(self, _: http.Request) -> http.Response:
        """livenessprobe's histogram, process metrics and the registration's state."""
        self._registration.state = (await self._roles.read("registrar") or {}).get("state")
        body = await asyncio.to_thread(metrics.render, self._registry)
        return http.text_response(body, content_type=metrics.CONTENT_TYPE)

    async def status_page(self, _: http.Request) -> http.Response:
        """The same as /status, as HTML."""
        return await asyncio.to_thread(_page, await self._state(), self.links())

    async def _state(self) -> dict[str, Any]:
        result, driver, registrar = await asyncio.gather(
            self._driver.check(), self._roles.read("driver"), self._roles.read("registrar")
        )
        usages = await asyncio.to_thread(self._processes.usages)
        state: dict[str, Any] = {
            "version": build().version,
            "healthz": {"healthy": result.healthy, "text": result.text},
            "driver": driver,
            "registrar": registrar,
            "supervised": self._is_whole,
            "last_known": self._roles.of_silent_roles(),
            "processes": [usage._asdict() for usage in usages],
        }
        state["not_ready"] = self._reasons(state)
        return state

    @property
    def _is_whole(self) -> bool:
        """Whether all roles are ours: then each must report its status."""
        return self._processes.supervised and bool(self._config.status_directory)

    def _reasons(self, state: Mapping[str, Any], *, with_providers: bool = True) -> list[str]:
        """Why the node is not ready. A role that is absent because a Go program runs in its place is no reason; a
        supervised role that does not answer is one."""
        reasons = [] if state["healthz"]["healthy"] else [f"driver: {state['healthz']['text']}"]
        registrar, driver = state["registrar"], state["driver"]
        if self._is_whole:
            reasons += [f"{role}: does not answer" for role in ("registrar", "driver") if state[role] is None]
        if registrar is not None and registrar.get("state") != REGISTERED:
            reasons.append("registrar: " + ": ".join(filter(None, (registrar.get("state"), registrar.get("error")))))
        if driver is not None:
            if not driver.get("ready"):
                reasons.append(f"driver: {driver.get('reason') or 'not ready'}")
            if with_providers:  # the driver has no other reasons than these that a restart does not remove
                reasons.extend(f"driver: {reason}" for reason in driver.get("not_ready_reasons", ()))
        return list(dict.fromkeys(reasons))


def _page(state: Mapping[str, Any], links: Mapping[str, str]) -> http.Response:
    from probe import page  # imported for whoever looks at it, because the container's start waits for earlier imports

    return http.Response(page.render(state, links).encode(), content_type=_HTML, headers=page.headers())


class _RegistrationMetric(Collector):
    """The state of the registration; no series while the registrar's status is unknown."""

    state: str | None = None

    def collect(self) -> Any:
        """A gauge of whether the driver is registered, and one labelled with the state."""
        family = GaugeMetricFamily("secrets_store_registered", "Whether kubelet has registered the driver.")
        states = GaugeMetricFamily(
            "secrets_store_registration_state", "1 for the registrar's current state.", labels=["state"]
        )
        if self.state is not None:
            family.add_metric([], float(self.state == REGISTERED))
            states.add_metric([self.state], 1.0)
        yield from (family, states)
