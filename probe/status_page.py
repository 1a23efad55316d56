"""The status page: /status as HTML, with failures first. Every value is escaped; the page has no script and loads
nothing."""

import html
import time
from collections.abc import Iterable, Mapping
from typing import Any

_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:75em}"
    "h1{font-size:1.4em}h2{font-size:1.1em;margin:2em 0 .3em}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #8886;padding:.3em .8em .3em 0;text-align:left;vertical-align:top}"
    ".verdict{font-size:1.2em;font-weight:bold;color:#080}.bad{color:#c22}"
)
Cells = tuple[Any, ...]


def render(state: Mapping[str, Any]) -> str:
    """The page for the state that ``Handlers`` collects."""
    driver, registrar, reasons = state["driver"] or {}, state["registrar"] or {}, state["not_ready"]
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
            f"<title>Secrets Store CSI driver: {'not ready' if reasons else 'ready'}</title><style>{_STYLE}</style>",
            f"<h1>Secrets Store CSI driver {_text(state['version'])}</h1>",
            f"<p class='verdict{' bad' if reasons else ''}'>{'Not ready' if reasons else 'Ready'}",
            _list(reasons),
            f"<p>Node: {_text(driver.get('node') or 'unknown')}<br>Registration: {_text(_registration(registrar))}",
            "" if driver.get("noswap", True) else "<br>Volumes may be swapped: the kernel's tmpfs has no noswap",
            "<h2>Volumes</h2>",
            _table(
                ("pod", "class", "provider", "refreshed", "failures", "reason"), _volumes(driver.get("volumes", ()))
            ),
            "<h2>Providers</h2>",
            _table(
                ("name", "socket", "version", "last error"),
                [
                    (bool(item["last_error"]), (item["name"], _sockets(item), item["version"], item["last_error"]))
                    for item in driver.get("providers", ())
                ],
            ),
            "<h2>Processes</h2>",
            _table(("role", "pid", "memory", "CPU", "restarts"), map(_process, state["processes"])),
        ]
    )


def _sockets(provider: Mapping[str, Any]) -> str:
    """The socket that is used, and those of other providers of the same name."""
    unused = provider.get("unused_sockets")
    return f"{provider['socket']} (not used: {unused})" if unused else str(provider["socket"])


def _volumes(volumes: Iterable[Mapping[str, Any]]) -> list[tuple[bool, Cells]]:
    """Rows of the table; volumes whose refresh fails come first."""
    return [
        (
            bool(item["failures"]),
            (
                item["pod"],
                item["class"],
                item["provider"],
                _age(item["last_refresh"]),
                item["failures"],
                item["reason"],
            ),
        )
        for item in sorted(volumes, key=lambda item: (-int(item["failures"]), str(item["pod"])))
    ]


def _process(item: Mapping[str, Any]) -> tuple[bool, Cells]:
    if not item["pid"]:
        return True, (item["role"], "down", "", "", item["restarts"])
    memory, cpu = item["resident_bytes"], item["cpu_seconds"]
    used = "" if memory is None else f"{memory / 2**20:.1f} MiB", "" if cpu is None else f"{cpu:.1f} s"
    return False, (item["role"], item["pid"], *used, item["restarts"])


def _registration(registrar: Mapping[str, Any]) -> str:
    if not registrar:
        return "unknown"
    text = f"{registrar.get('state')} ({_age(registrar.get('since'))})"
    return f"{text}: {registrar['error']}" if registrar.get("error") else text


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li class=bad>{_text(item)}" for item in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[bool, Cells]]) -> str:
    """A table; each row comes with whether it is shown as bad."""
    body = "".join(
        f"<tr{' class=bad' if bad else ''}>" + "".join(f"<td>{_text(cell)}" for cell in cells) for bad, cells in rows
    )
    head = "".join(f"<th>{_text(item)}" for item in heads)
    return f"<div><table><tr>{head}{body}</table></div>" if body else "<p>none</p>"


def _age(moment: float | None) -> str:
    if moment is None:
        return "unknown"
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _text(value: Any) -> str:
    return html.escape("" if value is None else str(value))
