"""What is there of labels that exist already: the official file, another one, or none."""

from __future__ import annotations

from kdbench.data import DataPlace, DataStatus
from kdbench.files import file_sha256
from kdbench.noise.spec import LabelNoiseSpec


def labels_status(spec: LabelNoiseSpec, place: DataPlace) -> DataStatus:
    """Look for the file of labels that can be fetched, without downloading; its hash is checked where one is known."""
    files = spec.files(place) if spec.files is not None else ()
    there = next((path for path in files if path.is_file()), None)
    fetch = f"`kdbench data fetch {spec.name}`"
    if there is None:
        return DataStatus("missing", f"no labels of '{spec.name}' were found", fetch)
    try:
        found = file_sha256(there)
    except OSError as error:
        return DataStatus("incomplete", f"can't read '{there}': {error.strerror}", "make it readable")
    if spec.sha256 not in (None, found):
        what = f"'{there}' is not the official file: its SHA-256 is {found}, expected {spec.sha256}"
        return DataStatus("incomplete", what, f"move it away and run {fetch}")
    return DataStatus("available", str(there))
