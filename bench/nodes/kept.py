"""The results of earlier commands, kept in a file: a table of large clusters takes an hour, which not everybody has."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.nodes.result import KINDS, Phase, Result


def write(path: Path, results: Sequence[Result]) -> None:
    """Write all results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([_encode(result) for result in results], indent=1))


def read(path: Path) -> list[Result]:
    """The results that ``write`` has written; none without the file."""
    return [_decode(item) for item in json.loads(path.read_text())] if path.exists() else []


def merge(former: Sequence[Result], fresh: Sequence[Result]) -> list[Result]:
    """All results in the table's order; of two runs of one kind with as many nodes, the fresh one."""
    found = {(result.nodes, KINDS.index(result.kind)): result for result in (*former, *fresh)}
    return [found[key] for key in sorted(found)]


def _encode(result: Result) -> dict[str, Any]:
    """Calls are lists, because a key of JSON is a text."""
    phases = [
        {**vars(phase), "calls": [[*call, number] for call, number in phase.calls.items()]} for phase in result.phases
    ]
    return {**vars(result), "phases": phases}


def _decode(item: dict[str, Any]) -> Result:
    phases = [
        Phase(**{**phase, "calls": Counter({tuple(call): number for *call, number in phase["calls"]})})
        for phase in item["phases"]
    ]
    return Result(**{**item, "phases": phases})
