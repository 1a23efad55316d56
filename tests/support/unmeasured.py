"""Processes whose coverage is not measured."""

import os

VARIABLES = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}


def environment(**variables: str) -> dict[str, str]:
    """This process's environment with ``variables``, but without coverage: for a process that is killed, whose data
    would be lost, or that runs none of our code. Coverage costs each process about 0.1 s of CPU time."""
    return {**os.environ, **VARIABLES, **variables}
