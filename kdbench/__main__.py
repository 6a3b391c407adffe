"""``python -m kdbench`` is the command line."""

from kdbench.cli import main

if __name__ == "__main__":
    main()
