"""The one place that imports OpenCV: frost's textures, JPEG and spatter's liquid need it."""

from __future__ import annotations

from types import ModuleType

from kdbench.errors import KdbenchError


def opencv() -> ModuleType:
    """The module ``cv2``; a KdbenchError that says how to fix it when it can't be imported."""
    try:
        import cv2
    except ImportError as error:
        raise KdbenchError(
            f"OpenCV (cv2), which frost, jpeg_compression and spatter need, can't be imported: {error}",
            "install your system's libGL (Debian: apt-get install libgl1) or run "
            "`pip install --force-reinstall --no-deps opencv-python-headless`",
        ) from error
    module: ModuleType = cv2
    return module
