"""What pip leaves of a distribution that it installs, as far as ``importlib.metadata`` and kdbench read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def write_distribution(
    site: Path,
    name: str,
    plugins: Mapping[str, str] | None = None,
    *,
    version: str = "1.0",
    requires: Iterable[str] = (),
) -> Path:
    """The folder of its metadata, in a folder that is on the path: ``plugins`` are kdbench's entry points, name to
    module, and ``requires`` what it depends on."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    wanted = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}")
    if plugins:
        points = "".join(f"{plugin} = {module}\n" for plugin, module in plugins.items())
        (info / "entry_points.txt").write_text(f"[kdbench]\n{points}")
    return info
