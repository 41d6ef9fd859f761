"""The five operations for a processor: little is stored, and work goes by slabs that stay in its cache.

In training they have backward passes of their own; at evaluation, for which `fold` is, they are the plain ones.
"""

from dualhead.models.ops.cpu.gather import graph_conv, window_graph_conv
from dualhead.models.ops.cpu.sums import norm_relu_linear, relu_sum
from dualhead.models.ops.cpu.temporal import temporal_branches

__all__ = ["graph_conv", "norm_relu_linear", "relu_sum", "temporal_branches", "window_graph_conv"]
