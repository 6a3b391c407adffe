"""What papers claim, and whether it can be shown here: ``kdbench reproduce --claims``."""

from kdbench.claims.claim import Claim, Comparison, Entrant, Measure

__all__ = ["Claim", "Comparison", "Entrant", "Measure"]
