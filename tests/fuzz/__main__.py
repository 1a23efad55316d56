"""`make test-fuzz`: the tests of this package with much more input, from a new seed or a given one.

python -m tests.fuzz [--seed N] [--factor N] [pytest's arguments]
"""

import argparse
import os
import secrets
import subprocess
import sys

from tests.fuzz import effort

FACTOR = 50


def main() -> int:
    """Returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Generated input for everything.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="repeat the run with this seed")
    parser.add_argument("--factor", type=int, default=FACTOR, help="how many times as much as in `make test`")
    options, others = parser.parse_known_args()
    print(f"seed {options.seed}, factor {options.factor}: repeat with make test-fuzz SEED={options.seed}", flush=True)
    environment = {**os.environ, effort.SEED: str(options.seed), effort.FACTOR: str(options.factor)}
    where = [argument for argument in others if not argument.startswith("-")] or ["tests/fuzz"]
    flags = [argument for argument in others if argument.startswith("-")]
    command = [sys.executable, "-m", "pytest", "-q", "--show-capture=no", f"--hypothesis-seed={options.seed}"]
    command += [*flags, *where]
    result = subprocess.run(command, env=environment, check=False).returncode
    print(f"seed {options.seed}, factor {options.factor}: {'passed' if result == 0 else 'FAILED'}", flush=True)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
