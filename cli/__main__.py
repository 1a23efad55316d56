"""``python -m cli``."""

from cli.main import PROGRAM, main

if __name__ == "__main__":
    main(prog_name=PROGRAM)
