"""Results of earlier commands."""

from collections import Counter
from pathlib import Path

from bench.nodes import kept
from bench.nodes.result import OURS, TRIO, Phase, Result

PHASE = Phase("publish", 2.5, 1.25, 0.5, 300.0, 310.0, 20, 10, 4.0, 2e6, Counter({("get", "pods", 200): 3}), ["no"])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Results with calls, failures and a reason → the same; no file → none."""
    path = tmp_path / "below" / "nodes.json"
    assert kept.read(path) == []
    results = [Result(OURS, 10, [PHASE]), Result(TRIO, 100, [], "publish: no")]
    kept.write(path, results)
    assert kept.read(path) == results


def test_fresh_results_take_the_place_of_former_ones() -> None:
    """Runs of two commands, one of them the same → each once, by number of nodes, ours first; the fresh one counts."""
    former = [Result(OURS, 100), Result(OURS, 10, given_up="former"), Result(TRIO, 10)]
    merged = kept.merge(former, [Result(TRIO, 100), Result(OURS, 10)])
    assert [(result.nodes, result.kind) for result in merged] == [(10, OURS), (10, TRIO), (100, OURS), (100, TRIO)]
    assert merged[0].given_up == ""
