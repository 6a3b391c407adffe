"""Checkpoints as people save them: one network's weights out of a file, and into a network.

``read_weights`` finds the weights in a file and never runs anything of it; ``fit_to`` loads them into a network whose
names may be others. Each says in words what it did.
"""

from __future__ import annotations

from kdbench.checkpoints.fitting import brings_normalisation, fit_to, fitting_architectures
from kdbench.checkpoints.reading import read_weights
from kdbench.checkpoints.weights import Weights

__all__ = ["Weights", "brings_normalisation", "fit_to", "fitting_architectures", "read_weights"]
