"""What a method author writes, and what the core gives it: ``Method``, its ``Context``, tuned values as data."""

from kdbench.methods.context import Batch, Context, Network, TrainSet
from kdbench.methods.method import MeasuredOnly, Method, MethodSpec, method

__all__ = ["Batch", "Context", "MeasuredOnly", "Method", "MethodSpec", "Network", "TrainSet", "method"]
