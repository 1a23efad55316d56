"""The two small roles: /healthz of a probe, GetInfo of a registrar."""

from tests.bench.figures import Figures
from tests.bench.measures import Effort
from tests.bench.stage import Stage
from tests.bench.subjects import Driver


def measure(stage: Stage, driver: Driver, figures: Figures, effort: Effort, registrar: str, probe: str) -> None:
    """Ours and, if given by path, others, interleaved."""
