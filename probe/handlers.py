"""What is served: /healthz, /livez, /readyz, /metrics, /status, and a page for people. No secret, token or attribute
on any of them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from probe.config import ProbeConfig
from probe.driver import DriverProbe
from probe.processes import Processes
from probe.status_page import render
from runtime import http, metrics, status
from runtime.version import build

REGISTERED = "registered"
_JSON = "application/json; charset=utf-8"
_HTML = "text/html; charset=utf-8"


class Handlers:
    """The probe's answers."""

    def __init__(
        self, config: ProbeConfig, driver: DriverProbe, processes: Processes, registry: CollectorRegistry
    ) -> None:
        self._config = config
        self._driver = driver
        self._processes = processes
        self._registry = registry
        self._registration = _RegistrationMetric()
        registry.register(processes)
        registry.register(self._registration)

    def routes(self) -> Mapping[str, http.Handler]:
        """Path → handler of the one server."""
        own = {
            "/healthz": self.healthz,
            "/livez": self.livez,
            "/readyz": self.readyz,
            "/status": self.status,
            "/": self.page,
        }
        if self._config.http_endpoint:
            own[self._config.metrics_path] = self.metrics
        return own

    async def healthz(self, _: http.Request) -> http.Response:
        """livenessprobe's contract: 200 ``ok``, or 500 and the reason."""
        verdict = await self._driver.check()
        return http.text_response(verdict.text, 200 if verdict.healthy else 500)

    async def livez(self, _: http.Request) -> http.Response:
        """This process answers, and supervisord, if it began under one, still is its parent."""
        if self._processes.orphaned:
            return http.text_response("supervisord is gone", 500)
        return http.text_response("ok")

    async def readyz(self, _: http.Request) -> http.Response:
        """503 with every reason why a new pod would not get its volume."""
        reasons = self._reasons(await self._state())
        return http.text_response("ok" if not reasons else "\n".join(reasons), 503 if reasons else 200)

    async def status(self, _: http.Request) -> http.Response:
        """All that is known, as JSON."""
        return http.text_response(json.dumps(await self._state(), indent=1), content_type=_JSON)

    async def metrics(self, _: http.Request) -> http.Response:
        """livenessprobe's histogram, the processes, the registration."""
        self._registration.state = (await self._role("registrar") or {}).get("state")
        body = await asyncio.to_thread(metrics.render, self._registry)
        return http.text_response(body, content_type=metrics.CONTENT_TYPE)

    async def page(self, _: http.Request) -> http.Response:
        """For people."""
        return http.text_response(
            render(await self._state()),
            content_type=_HTML,
            Content_Security_Policy="default-src 'none'; style-src 'unsafe-inline'",
        )

    async def _role(self, name: str) -> dict[str, Any] | None:
        if not self._config.status_directory:
            return None
        return await status.read(self._config.status_directory, name)

    async def _state(self) -> dict[str, Any]:
        verdict, driver, registrar = await asyncio.gather(
            self._driver.check(), self._role("driver"), self._role("registrar")
        )
        usages = await asyncio.to_thread(self._processes.usages)
        state: dict[str, Any] = {
            "version": build().version,
            "healthz": {"healthy": verdict.healthy, "text": verdict.text},
            "driver": driver,
            "registrar": registrar,
            "processes": [asdict(usage) for usage in usages],
        }
        state["not_ready"] = self._reasons(state)
        return state

    def _reasons(self, state: Mapping[str, Any]) -> list[str]:
        """A role that is not ours (a Go original in its place) is unknown, and no reason; one of the supervised three
        that does not answer is."""
        reasons = [] if state["healthz"]["healthy"] else [f"driver: {state['healthz']['text']}"]
        registrar, driver = state["registrar"], state["driver"]
        if self._processes.supervised and self._config.status_directory:
            reasons += [f"{role}: does not answer" for role in ("registrar", "driver") if state[role] is None]
        if registrar is not None and registrar.get("state") != REGISTERED:
            reasons.append("registrar: " + ": ".join(filter(None, (registrar.get("state"), registrar.get("error")))))
        if driver is not None:
            if not driver.get("ready"):
                reasons.append(f"driver: {driver.get('reason') or 'not ready'}")
            reasons.extend(f"driver: {reason}" for reason in driver.get("not_ready_reasons", ()))
        return list(dict.fromkeys(reasons))


class _RegistrationMetric(Collector):
    """Whether kubelet has registered the driver, and the state; no series where the registrar is unknown."""

    state: str | None = None

    def collect(self) -> Any:
        """A gauge of the one state that matters, and one of all."""
        family = GaugeMetricFamily("secrets_store_registered", "Whether kubelet has registered the driver.")
        states = GaugeMetricFamily(
            "secrets_store_registration_state", "1 for the state that the registrar is in.", labels=["state"]
        )
        if self.state is not None:
            family.add_metric([], float(self.state == REGISTERED))
            states.add_metric([self.state], 1.0)
        yield from (family, states)
