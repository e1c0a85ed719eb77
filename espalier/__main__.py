"""`python -m espalier`: the stages and the library's own commands, without the flows."""

from espalier.cli import main
from espalier.ending import run_to_end

if __name__ == "__main__":
    run_to_end(main)
