"""Runs and trainings in processes of their own, where plugins of third parties are installed.

A plugin is code that shares the process with whatever is computed there. So a process that has imported one trains
nothing and measures nothing itself: each run (its measurements) and each training is done by a process that is forked
from one which has imported torch, kdbench and kdbench's own plugins alone (``server``), and imports no plugin but those
that this node needs (``needed``). What comes of it lies in the run folder and the folder of the training, as always;
what is told over the connection is how it ended (``client``, ``node``).
"""
