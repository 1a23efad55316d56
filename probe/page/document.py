"""The page around the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.page import providers, roles, secrets, volumes
from probe.page.markup import Html, element, fragment, verbatim
from probe.page.node import REGISTERED, Known, Node
from probe.page.table import Level, Row, badge, table
from probe.page.units import ago, clock_time, count, duration, mebibytes, number

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)
_COLOURS = {Level.GOOD: "2e9e54", Level.WARN: "d99a00", Level.BAD: "d93025", Level.UNKNOWN: "8a94a0"}


def document(node: Node, links: Mapping[str, str], style: str, script: str) -> str:
    """The whole page."""
    name = str((node.driver.status or {}).get("node") or "unknown node")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{node.verdict}: {node.summary} · {name}"),
        element("link", rel="icon", href=Html(_ICON.format(_COLOURS[node.level])), id="icon"),
        verbatim("style", style),
    )
    body = element(
        "body",
        element("header", element("h1", "Secrets Store CSI driver ", element("small", name))),
        element("main", _verdict(node), _facts(node), *_sections(node), id="page"),
        _footer(links, node.now),
        verbatim("script", script),
    )
    return f"<!doctype html>{element('html', head, body, lang='en')}"


def _verdict(node: Node) -> Html:
    reasons = [element("li", reason) for reason in node.reasons]
    return element(
        "section",
        element("p", badge(node.level, node.verdict), " ", element("strong", node.summary), role="status"),
        _silence(node),
        element("ul", *reasons) if reasons else None,
        class_=f"verdict {node.level.css}",
        aria_label="Summary",
    )


def _silence(node: Node) -> Html | None:
    """What is said about a driver that does not answer."""
    if node.driver.is_present:
        return None
    if not node.supervised:
        return element("p", "It is not a role of this container, or its status sockets are turned off.")
    if node.driver.at is None:
        return element("p", "It has not answered since this page is served, so nothing is known of its volumes.")
    since = number(node.state["last_known"]["driver"]["silent_since"])
    return element("p", "It has not answered since ", clock_time(since) if since else "a moment ago", ".")


def _facts(node: Node) -> Html:
    driver = node.driver.status or {}
    interval = number(driver.get("rotation_interval"))
    facts: dict[str, Any] = {
        "Version": node.state["version"],
        "Driver started": ago(driver.get("started"), node.now),
        "Registration": _registration(node),
        "Rotation": ("off" if driver else "unknown") if interval is None else f"every {duration(interval)}",
        "Memory": roles.total_memory(node.state["processes"]),
    }
    if driver.get("noswap") is False:
        facts["Swap"] = "volumes may be swapped: the kernel's tmpfs has no noswap"
    held = driver.get("held") or {}
    if held.get("replies"):
        facts["Held for new pods"] = f"{count(held['replies'], 'reply', 'replies')}, {mebibytes(held['bytes'])}"
    listed = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items()]
    return element("dl", *listed, class_="facts")


def _registration(node: Node) -> Any:
    registrar, known = node.registrar.status, node.registrar
    if registrar is None:
        return "unknown"
    state, error = str(registrar.get("state")), registrar.get("error")
    since = fragment(state, ", since ", ago(registrar.get("since"), node.now))
    last = fragment(since, " (last known)") if not known.is_present else since
    return fragment(last, ": ", error) if error and state != REGISTERED else last


def _sections(node: Node) -> Sequence[Html]:
    found = [
        _section("Volumes", node.driver, volumes.COLUMNS, node.volumes, node.now),
        _section("Providers", node.driver, providers.COLUMNS, node.providers, node.now),
    ]
    if node.secrets:
        left = int(number((node.driver.status or {}).get("secret_count")) or 0) - len(node.secrets)
        found.append(_section("Synced Secrets", node.driver, secrets.COLUMNS, node.secrets, node.now, left))
    return [*found, _section("Processes", Known({}), roles.COLUMNS, node.roles, node.now)]


def _section(title: str, source: Known, columns: Sequence[str], rows: Sequence[Row], now: float, left: int = 0) -> Html:
    """A table with its heading; ``left`` is the number of rows that the source has left out."""
    key = title.lower().replace(" ", "-")
    age = None if source.at is None else badge(Level.UNKNOWN, f"last known {duration(now - source.at)} ago")
    if source.status is None:
        content = element("p", badge(Level.UNKNOWN, "unknown"), class_="empty")
    elif rows:
        content = table(title, columns, rows)
    else:
        content = element("p", "none", class_="empty")
    heading = element("h2", title, " ", age)
    more = element("p", f"and {left} more", class_="more") if left > 0 else None
    return element("section", heading, content, more, id=key, class_="stale" if age else None)


def _footer(links: Mapping[str, str], now: float) -> Html:
    listed = [element("li", element("a", path, href=path), f" {what}") for path, what in links.items()]
    return element(
        "footer",
        element(
            "p",
            element("span", "As of ", clock_time(now), id="as-of"),
            " ",
            element("a", "Refresh", href="", id="refresh"),
            " ",
            element("button", "Pause", type="button", id="pause", hidden=True),
        ),
        element("p", element("span", id="problem"), role="alert"),
        element("nav", element("ul", *listed), aria_label="Also at this address"),
    )
