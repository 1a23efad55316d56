"""The whole container: supervisord and its three, as `secrets-store-csi` starts them."""

import importlib.util

from tests.bench.figures import Figures
from tests.bench.measures import Effort
from tests.bench.stage import Stage


def available() -> bool:
    """Whether the composition root is there."""
    return importlib.util.find_spec("container.main") is not None


def measure(stage: Stage, figures: Figures, effort: Effort) -> None:
    """Start, memory idle and after 110 volumes."""


def measure_in_crowd(stage: Stage, figures: Figures) -> None:
    """Memory in a large cluster."""
