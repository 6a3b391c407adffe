"""Processes for nodes, without any process."""
