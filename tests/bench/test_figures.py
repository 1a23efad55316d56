"""The figures of a run and their table."""

from bench import report
from bench.figures import Figures


def test_rounds_in_the_table() -> None:
    """Three rounds of ours, with several samples each, two of theirs, one of another measure → median of all samples,
    least and greatest median of the rounds, and the ratio of the medians; nothing to compare in a single round."""
    figures = Figures()
    for values in ((10.0, 30.0, 11.0), (9.0, 8.0, 7.0), (20.0, 21.0, 22.0)):
        figures["paced"].add("ours", *values)
    figures["paced"].add("theirs", 20.0, 24.0)
    figures["paced"].add("theirs", 22.0)
    figures["paced"].add("theirs")  # a round in which every call failed
    figures["single"].add("ours", 5.0)
    assert figures["paced"].spread("ours") == (8.0, 21.0, 3)
    assert figures["paced"].spread("theirs") == (22.0, 22.0, 2)
    assert figures["single"].spread("ours") is None and figures["single"].spread("theirs") is None
    assert figures["paced"].ratio("ours", "theirs") == 0.5
    rows = report.markdown(figures, "ours", "theirs", {}, [], {}).splitlines()
    paced = next(row for row in rows if row.startswith(f"| {figures['paced'].row.what} |"))
    assert "| 11 | 8 to 21 in 3 |" in paced and "| 22 | 22 to 22 in 2 |" in paced and "0.50×" in paced
    assert len({row.count("|") for row in rows if row.startswith("|")}) == 1
