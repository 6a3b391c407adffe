"""Published tables and figures, measured again: ``kdbench reproduce paper/item``."""

from kdbench.reproducing.reading import read_reproduction
from kdbench.reproducing.reproduction import Reproduction

__all__ = ["Reproduction", "read_reproduction"]
