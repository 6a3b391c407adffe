"""Python's search path without the working directory, which holds whatever a user happens to work on."""

from __future__ import annotations

import os
import sys


def without_working_directory() -> None:
    """Import nothing from the working directory, nor take plugins from it, unless PYTHONPATH names it, kdbench itself
    lies there, in a checkout, or a package that is installed as editable.

    Python puts it first for ``python -m``, and for an empty entry of PYTHONPATH, which a colon at its end makes. What
    stands behind the standard library is of installed packages.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # deleted meanwhile: nothing is found there
        return
    named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if here not in (home, *map(os.path.abspath, named)):
        library = os.path.dirname(os.__file__)
        installed = sys.path[sys.path.index(library) :] if library in sys.path else []
        own = sys.path[: len(sys.path) - len(installed)]
        sys.path[:] = [path for path in own if path and os.path.abspath(path) != here] + installed
