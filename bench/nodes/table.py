"""The results as Markdown tables, for docs/scale.md."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from bench.nodes.result import OURS, TRIO, Phase, Result

_KIND = {OURS: "this driver", TRIO: "trio"}
_MISSING = "–"
_MB = 1e6


def tables(results: Sequence[Result]) -> str:
    """All tables; runs that were given up are below them, with the reason."""
    parts = [
        _by_phase("CPU of API server and etcd, seconds", results, lambda _, phase: f"{phase.cpu:.1f}"),
        _by_phase("Seconds until all nodes have converged", results, lambda _, phase: f"{phase.seconds:.1f}"),
        _by_phase("Calls of a node; in brackets those that got an error", results, _calls_of_a_node),
        _by_phase("Events sent on watches; MB of lists", results, _sent),
        _by_phase("Highest memory of the API server, MiB", results, lambda _, phase: f"{phase.peak:.0f}"),
        _by_phase("Watches; connections, at the end", results, lambda _, p: f"{p.watches}; {p.connections}"),
        *(_calls(result) for result in _largest(results)),
    ]
    given_up = [
        f"- {result.nodes} nodes, {_KIND[result.kind]}: {result.given_up}" for result in results if result.given_up
    ]
    return "\n\n".join([*parts, *(["\n".join(["Given up:", "", *given_up])] if given_up else [])]) + "\n"


def _by_phase(title: str, results: Sequence[Result], cell: Callable[[Result, Phase], str]) -> str:
    """A row for each phase, a column for each run."""

    def shown(result: Result, name: str) -> str:
        phase = result.phase(name)
        if phase is None:
            return _MISSING
        return cell(result, phase) + (" (given up)" if phase.failures else "")

    rows = [[name, *(shown(result, name) for result in results)] for name in _phases(results)]
    heads = [f"{result.nodes} nodes, {_KIND[result.kind]}" for result in results]
    return f"{title}\n\n" + _table(["", *heads], rows)


def _calls_of_a_node(result: Result, phase: Phase) -> str:
    """Their number, and how many of them were answered with an error, such as that there is no such object."""
    errors = sum(number for (_, _, status), number in phase.calls.items() if status >= 400)
    text = f"{phase.calls.total() / result.nodes:.1f}"
    return f"{text} ({errors / result.nodes:.1f})" if errors else text


def _sent(_: Result, phase: Phase) -> str:
    return f"{phase.watch_events:.0f}; {phase.list_bytes / _MB:.1f}"


def _calls(result: Result) -> str:
    """The calls of one run by verb and resource, for one node."""
    rows = []
    for phase in result.phases:
        counted = Counter[str]()
        for (verb, resource, status), number in phase.calls.items():
            counted[f"{verb} {resource}" + (f" ({status})" if status >= 400 else "")] += number
        shown = (f"{number / result.nodes:.2g} {what}" for what, number in counted.most_common())
        rows.append([phase.name, ", ".join(shown) or "none"])
    return f"Calls of a node by verb, {result.nodes} nodes, {_KIND[result.kind]}\n\n" + _table(["", "calls"], rows)


def _largest(results: Iterable[Result]) -> list[Result]:
    """The largest run of each kind that came to its end, else the largest."""
    found = []
    for kind in (OURS, TRIO):
        of_kind = [result for result in results if result.kind == kind]
        if of_kind:
            found.append(max(of_kind, key=lambda result: (not result.given_up, result.nodes)))
    return found


def _phases(results: Iterable[Result]) -> list[str]:
    """Their names in order; that of the run that came farthest."""
    farthest_first = sorted(results, key=lambda result: -len(result.phases))
    return list(dict.fromkeys(phase.name for result in farthest_first for phase in result.phases))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
