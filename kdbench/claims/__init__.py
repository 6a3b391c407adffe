"""What papers claim, and whether it can be shown here: ``kdbench reproduce --claims``."""

from kdbench.claims.claim import Claim, Comparison, Measure, MethodConfig

__all__ = ["Claim", "Comparison", "Measure", "MethodConfig"]
