"""What a method author writes, and what the core gives it: ``Method``, its ``Context``, tuned values as data."""

from kdbench.methods.context import Batch, Context, Network, TrainSet
from kdbench.methods.method import MeasuredOnly, Method, MethodSpec, method
from kdbench.methods.two_networks import EvaluatedNetwork, TwoNetworks

__all__ = [
    "Batch", "Context", "EvaluatedNetwork", "MeasuredOnly", "Method", "MethodSpec", "Network", "TrainSet",
    "TwoNetworks", "method",
]  # fmt: skip
