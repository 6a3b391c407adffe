"""Packages of others that are imported when they are asked for: quietly, or with an error that says what to install."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings

from kdbench.errors import KdbenchError


def extra(name: str) -> str:
    """The command that installs what an extra of kdbench brings.

    >>> extra("attacks")
    "`pip install 'kdbench[attacks]'`"
    """
    return f"`pip install 'kdbench[{name}]'`"


def installed(module: str) -> bool:
    """Whether a top-level module can be found; it is not imported."""
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None


def require(user: str, module: str, hint: str) -> None:
    """Look for a module without importing it.

    Args:
        user: what needs it, as the message begins: "tracker 'mlflow'".
        module: the top-level module.
        hint: what to do about it, such as ``extra("mlflow")``.

    Raises:
        KdbenchError: it is not installed.
    """
    if not installed(module):
        raise KdbenchError(f"{user} needs the package {module}, which is not installed", hint)


def load(user: str, module: str, hint: str) -> types.ModuleType:
    """Import a module with the third party's own warnings silenced: they are about its code, not about the user's.

    Args:
        user: as of ``require``.
        module: the module, or one inside a package.
        hint: as of ``require``; what the package itself lacks is named before it.

    Raises:
        KdbenchError: it is not installed, or can't be imported.
    """
    package = module.partition(".")[0]
    require(user, package, hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != package:
            hint = f"it needs the module '{error.name}': {hint} brings all that it needs"
        raise KdbenchError(f"{package} can't be imported: {error}", hint) from error
