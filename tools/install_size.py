"""What a default install of kdbench brings, and how large it is: the numbers of the README.

python -m tools.install_size, in any environment that has kdbench.
"""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MIB = 2**20


def brought(name: str) -> dict[str, Distribution]:
    """A distribution and all that it requires here, by canonical name; extras where a requirement asks for them."""
    found: dict[str, Distribution] = {}
    asked, waiting = set(), [Requirement(name)]
    while waiting:
        one = waiting.pop()
        key = canonicalize_name(one.name)
        found.setdefault(key, importlib.metadata.distribution(one.name))
        for extra in {"", *one.extras}:
            if (key, extra) in asked:
                continue
            asked.add((key, extra))
            required = [Requirement(text) for text in found[key].requires or []]
            waiting += [r for r in required if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found


def size(distribution: Distribution) -> int:
    """Bytes of the files that its RECORD lists, but for compiled Python, which each machine makes itself."""
    paths = [str(distribution.locate_file(file)) for file in distribution.files or [] if file.suffix != ".pyc"]
    return sum(Path(path).stat().st_size for path in paths if Path(path).is_file())


def main() -> None:
    sizes = {name: size(one) / MIB for name, one in brought("kdbench").items()}
    print(f"{len(sizes)} distributions, {sum(sizes.values()):,.0f} MiB")
    for name, mib in sorted(sizes.items(), key=lambda one: -one[1]):
        print(f"{mib:8,.1f} MiB  {name}")


if __name__ == "__main__":
    main()
