"""`python -m espalier`: the stages and the library's own commands, without the flows."""

from espalier.cli import main

if __name__ == "__main__":
    main()
