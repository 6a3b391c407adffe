"""Everything between a record on disk and whoever reads it: leaderboard, claims, report."""
