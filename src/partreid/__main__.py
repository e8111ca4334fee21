"""``python -m partreid``: the command line, as torchrun starts it."""

from partreid.cli import main

if __name__ == "__main__":
    main()
