"""How plugins come in: the hooks, their loading, and registries of what they bring."""
