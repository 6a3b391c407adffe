"""Engines that work a study's nodes off: one short file each."""
