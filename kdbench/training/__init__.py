"""How networks are trained: one loop for every method, and what belongs to it."""
