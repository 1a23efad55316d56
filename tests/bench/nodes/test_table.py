"""The tables of the results, and the page that they go to."""

from collections import Counter
from dataclasses import replace

import pytest

from bench.nodes.page import BEGIN, END, replace_tables
from bench.nodes.result import OURS, TRIO, Calls, Phase, Result
from bench.nodes.table import tables

CALLS: Calls = Counter({("create", "secrets", 201): 10, ("create", "secrets", 409): 5, ("get", "pods", 200): 20})
PHASE = Phase("publish", 2.5, 1.25, 0.5, 300.0, 310.0, 20, 10, 40.0, 2e6, CALLS)


def rows(text: str, title: str) -> list[str]:
    """The lines of the table under a title."""
    return text.partition(f"{title}\n\n")[2].partition("\n\n")[0].splitlines()


def test_a_column_for_each_run() -> None:
    """A run that came to its end, and one that was given up in its first phase → sums, calls of a node with those
    that got an error, a dash for what is missing, the reason below."""
    errors = "Calls of a node; in brackets those that got an error"
    whole = Result(OURS, 10, [PHASE, replace(PHASE, name="idle", calls=Counter())])
    given_up = Result(TRIO, 100, [replace(PHASE, failures=["no"])], "publish: one failed")
    text = tables([whole, given_up])
    assert rows(text, "CPU of API server and etcd, seconds") == [
        "|  | 10 nodes, this driver | 100 nodes, trio |",
        "| --- | ---: | ---: |",
        "| publish | 1.8 | 1.8 (given up) |",
        "| idle | 1.8 | – |",
    ]
    assert "| publish | 3.5 (0.5) | 0.3 (0.1) (given up) |" in rows(text, errors)
    assert "| idle | 0.0 | – |" in rows(text, errors)
    by_verb = rows(text, "Calls of a node by verb, 10 nodes, this driver")
    assert "| publish | 2 get pods, 1 create secrets, 0.5 create secrets (409) |" in by_verb
    assert "| idle | none |" in by_verb
    assert text.endswith("Given up:\n\n- 100 nodes, trio: publish: one failed\n")


def test_the_calls_are_those_of_the_largest_run_that_ended() -> None:
    """Three runs, the largest of which was given up → the calls of the larger of the others."""
    runs = [Result(OURS, 10, [PHASE]), Result(OURS, 30, [PHASE]), Result(OURS, 100, [PHASE], "idle: too long")]
    text = tables(runs)
    assert "by verb, 30 nodes" in text and "by verb, 100 nodes" not in text


def test_the_page_keeps_what_is_around_its_tables() -> None:
    """Tables are put between the marks, twice → what is around them stays, the former ones go."""
    page = f"# Scale\n\nBefore.\n\n{BEGIN}\n\n{END}\n\nAfter.\n"
    once = replace_tables(page, "| a |\n")
    assert once == f"# Scale\n\nBefore.\n\n{BEGIN}\n\n| a |\n\n{END}\n\nAfter.\n"
    assert replace_tables(once, "| b |\n") == once.replace("| a |", "| b |")


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_page_without_the_marks(page: str) -> None:
    """No place for the tables → an error that names the marks."""
    with pytest.raises(ValueError, match="between which the tables are"):
        replace_tables(page, "| a |\n")
