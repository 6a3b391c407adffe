"""Records to rankings, and rankings to pages.

>>> from kdbench import leaderboard
>>> frame = leaderboard.load("leaderboards/records")  # doctest: +SKIP
"""

from kdbench.leaderboard.board import Axis, Board, Boards, Cell, Measurement, Pairs, Row
from kdbench.leaderboard.export import load, save
from kdbench.leaderboard.index import write_index
from kdbench.leaderboard.ranking import make_boards, rank
from kdbench.leaderboard.schema import write_schema
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.store import read_evidence, read_records

__all__ = [
    "Axis",
    "Board",
    "Boards",
    "Cell",
    "Evidence",
    "Excluded",
    "Measurement",
    "Pairs",
    "Row",
    "load",
    "make_boards",
    "rank",
    "read_evidence",
    "read_records",
    "save",
    "write_index",
    "write_schema",
]
