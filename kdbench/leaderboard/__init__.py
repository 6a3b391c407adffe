"""Records to rankings, and rankings to pages."""
