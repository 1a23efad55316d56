"""``python -m cli``."""

from cli.main import PROGRAM, main

main(prog_name=PROGRAM)
