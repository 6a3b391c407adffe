"""CIFAR-10N and CIFAR-100N: what people on Amazon Mechanical Turk called CIFAR's training images.

Source: Wei et al. 2022, "Learning with noisy labels revisited" (arXiv 2110.12088), with its files at
https://github.com/UCSC-REAL/cifar-10-100n, which http://www.noisylabels.com offers under CC BY-NC 4.0: they are fetched
and never come with kdbench. The shares of wrong labels are those of the paper. The authors publish no checksum: the
SHA-256 are those that other public projects recorded of the official files, two of CIFAR-10N and one of CIFAR-100N.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdbench.data import CIFAR10_CLASSES, CIFAR100_CLASSES, DataFacts, DataPlace, download
from kdbench.errors import KdbenchError
from kdbench.noise.label_files import as_labels, load_pt
from kdbench.noise.spec import GivenLabels, LabelNoiseSpec
from kdbench.specs import LabelNoise

FOLDER = "cifar-n"
"""In the data folder."""
CLEAN = "clean_label"
ADDRESS = "https://github.com/UCSC-REAL/cifar-10-100n/raw/main/data/{}"
LICENCE = "CC BY-NC 4.0, for research and no commercial use"


@dataclass(frozen=True)
class HumanLabels:
    """One of the two official files."""

    name: str
    """What its kinds of label noise are called, before what they are of."""
    dataset: str
    class_names: tuple[str, ...]
    file: str
    sha256: str
    urls: tuple[str, ...]
    kinds: Mapping[str, tuple[str, float, str]]
    """Name to the key in the file, the published share of wrong labels, and what it is in words."""


CIFAR10N = HumanLabels(
    name="cifar10n",
    dataset="cifar10",
    class_names=CIFAR10_CLASSES,
    file="CIFAR-10_human.pt",
    sha256="873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
    urls=(ADDRESS.format("CIFAR-10_human.pt"),),
    kinds={
        "aggre": ("aggre_label", 0.0901, "what most of three called it, a random one where all differ"),
        "random1": ("random_label1", 0.1723, "the first of three people"),
        "random2": ("random_label2", 0.1812, "the second of three people"),
        "random3": ("random_label3", 0.1764, "the third of three people"),
        "worse": ("worse_label", 0.4021, "a wrong one wherever any of three gave one"),
    },
)
CIFAR100N = HumanLabels(
    name="cifar100n",
    dataset="cifar100",
    class_names=CIFAR100_CLASSES,
    file="CIFAR-100_human.pt",
    sha256="bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
    urls=(ADDRESS.format("CIFAR-100_human.pt"),),
    kinds={"fine": ("noisy_label", 0.4020, "one person's fine class")},
)


def specs(*sources: HumanLabels) -> list[LabelNoiseSpec]:
    """The kinds of label noise of these files, by default of both."""
    return [
        LabelNoiseSpec(
            f"{source.name}-{name}",
            description=f"labels of people for {source.dataset}: {meaning}; {share:.2%} wrong; CC BY-NC 4.0",
            class_names=source.class_names,
            read=partial(read, source=source, key=key),
            dataset=source.dataset,
            share=share,
            sha256=source.sha256,
            files=partial(files, source=source),
            fetch=partial(fetch, source=source),
        )
        for source in sources or (CIFAR10N, CIFAR100N)
        for name, (key, share, meaning) in source.kinds.items()
    ]


def files(place: DataPlace, source: HumanLabels) -> list[Path]:
    """Where a file is looked for."""
    return [folder / source.file for root in place.roots for folder in (root / FOLDER, root)]


def fetch(place: DataPlace, source: HumanLabels) -> Path:
    """Download a file, unless it is there."""
    there = next((path for path in files(place, source) if path.is_file()), place.download_root / FOLDER / source.file)
    return download.fetch(source.urls, there, checksum=f"sha256:{source.sha256}", progress=place.progress)


def read(noise: LabelNoise, data: DataFacts, place: DataPlace, *, source: HumanLabels, key: str) -> GivenLabels:
    """The labels under a key of an official file, which is downloaded where it is nowhere and ``place.download``.

    Raises:
        KdbenchError: it is nowhere, can't be downloaded, or is another file.
    """
    path = next((path for path in files(place, source) if path.is_file()), None)
    if path is None and place.download:
        path = fetch(place, source)
    if path is None:
        tried = ", ".join(map(str, files(place, source)))
        raise KdbenchError(
            f"the labels of '{noise.kind}' were not found: looked for {tried}",
            f"`kdbench data fetch {noise.kind}` downloads them ({LICENCE})",
        )
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise KdbenchError(f"can't read '{path}': {error.strerror}", "make it readable") from None
    found = hashlib.sha256(blob).hexdigest()
    if found != source.sha256:
        raise KdbenchError(
            f"'{path}' is not the official file: its SHA-256 is {found}, expected {source.sha256}",
            f"move it away and run `kdbench data fetch {noise.kind}`",
        )
    content = load_pt(blob, path)
    if not isinstance(content, dict) or not {key, CLEAN} <= content.keys():
        raise KdbenchError(f"'{path}' has no labels '{key}' and '{CLEAN}'", "fetch it again")
    return GivenLabels(as_labels(content[key], path), as_labels(content[CLEAN], path), found)
