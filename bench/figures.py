"""The figures of a run: one per row of the report, with the samples of each subject."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.rows import ROWS, Row

MIN_P99_SAMPLES = 20


@dataclass
class Figure:
    """One figure: its row, the samples of each subject, and the medians of its rounds."""

    key: str
    row: Row
    samples: dict[str, list[float]] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: str, *values: float) -> None:
        """Add the samples of a subject in one round."""
        if values:
            self.samples.setdefault(subject, []).extend(values)
            self.rounds.setdefault(subject, []).append(statistics.median(values))

    def median(self, subject: str) -> float | None:
        """The median of a subject's samples; None without samples."""
        samples = self.samples.get(subject)
        return statistics.median(samples) if samples else None

    def spread(self, subject: str) -> tuple[float, float, int] | None:
        """The least and the greatest median of a subject's rounds, and how many rounds there were; None with one."""
        rounds = self.rounds.get(subject, ())
        return (min(rounds), max(rounds), len(rounds)) if len(rounds) > 1 else None

    def p99(self, subject: str) -> float | None:
        """The 99th percentile of a subject's samples; None with too few samples."""
        samples = sorted(self.samples.get(subject, ()))
        return samples[min(len(samples) - 1, round(len(samples) * 0.99))] if len(samples) >= MIN_P99_SAMPLES else None

    def ratio(self, subject: str, other: str | None) -> float | None:
        """The ratio of a subject's median to that of the other subject of this run; without one, to the reference."""
        mine = self.median(subject)
        base = self.median(other) if other is not None else self.row.reference
        return mine / base if mine is not None and base else None

    def reached(self, subject: str, other: str | None) -> bool | None:
        """Whether the goal is reached; None if there is no goal, or nothing to compare with."""
        goal = self.row.goal
        value = self.median(subject) if self.row.absolute else self.ratio(subject, other)
        if value is None or goal is None:
            return None
        return value >= goal if self.row.more else value <= goal


class Figures:
    """All figures of a run by key; ``part`` adds those of single processes."""

    def __init__(self) -> None:
        self._figures = {key: Figure(key, row) for key, row in ROWS.items()}

    def __getitem__(self, key: str) -> Figure:
        return self._figures[key]

    def part(self, key: str, name: str) -> Figure:
        """The figure of one process of a container, which is part of the figure ``key``."""
        inner = f"{key}/{name}"
        if inner not in self._figures:
            self._figures[inner] = Figure(inner, Row(f"… {name}", self._figures[key].row.unit))
        return self._figures[inner]

    def filled(self) -> Sequence[Figure]:
        """The figures that have samples, in the order of the table."""
        order = list(ROWS)
        figures = sorted(self._figures.values(), key=lambda figure: order.index(figure.key.partition("/")[0]))
        return [figure for figure in figures if figure.samples]
