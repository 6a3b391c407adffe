"""Attacks of other libraries, behind one guard: each is found, run quietly, and judged by kdbench itself."""
