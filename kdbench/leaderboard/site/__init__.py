"""A leaderboard as web pages: static, without a network, the same files for the same records."""

from kdbench.leaderboard.site.pages import build

__all__ = ["build"]
