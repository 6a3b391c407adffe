"""Tests of the 19 corruptions; ``oracle`` is a second, slow implementation that they are checked against."""
