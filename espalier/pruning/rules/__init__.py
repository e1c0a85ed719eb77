"""One rule per ATen operator: which dimensions of its operands must change together.

A rule takes (walk, node) and returns the label of the node's output. `walk.label(argument)` is the
label of an operand, `walk.shape(node)` its sizes. Conservative: dimensions that enter an operator
without a rule are not pruned.
"""

from espalier.pruning.coupling import Rule, Walk, unlabelled
from espalier.pruning.rules.layers import (
    channel_norm,
    convolution,
    group_norm,
    instance_norm,
    layer_norm,
    linear,
    rectifier,
    transposed_convolution,
)
from espalier.pruning.rules.parts import (
    chunk,
    concatenate,
    embedding,
    gather,
    item,
    pieces,
    select,
    slices,
    stack,
    unbind,
)
from espalier.pruning.rules.products import added_product, attention, einsum, matrix_product
from espalier.pruning.rules.recurrent import recurrent
from espalier.pruning.rules.shapes import (
    expand,
    matrix_transpose,
    move,
    pad,
    permute,
    reorder,
    repeat,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)
from espalier.pruning.rules.values import (
    deviation,
    elementwise,
    extreme,
    passes,
    pool,
    reduce,
    softmax,
    vector_norm,
)

__all__ = ["RULES", "Rule", "Walk"]


def _all(names: str, rule: Rule) -> dict[str, Rule]:
    """One rule for several operators, each with its in-place variant."""
    return {f"{name}{suffix}": rule for name in names.split() for suffix in ("", "_")}


RULES: dict[str, Rule] = {
    **_all("conv1d conv2d conv3d", convolution),
    **_all("conv_transpose1d conv_transpose2d conv_transpose3d", transposed_convolution),
    "linear": linear,
    "lstm": recurrent(4),
    "gru": recurrent(3),
    **{name: recurrent(1) for name in ("rnn_tanh", "rnn_relu")},
    **_all("batch_norm", channel_norm),
    **_all("instance_norm", instance_norm),
    **_all("layer_norm rms_norm", layer_norm),
    "group_norm": group_norm,
    "prelu": rectifier,
    **_all(
        "add sub rsub mul div pow maximum minimum where masked_fill eq ne lt le gt ge "
        "clamp clamp_min clamp_max",
        elementwise,
    ),
    **_all(
        "relu relu6 gelu silu sigmoid hardswish tanh hardsigmoid hardtanh leaky_relu elu selu celu "
        "mish",
        passes,
    ),
    **_all(
        "softplus log_sigmoid softsign threshold neg abs exp log log1p expm1 sqrt rsqrt square "
        "reciprocal",
        passes,
    ),
    **_all(
        "sin cos erf sign floor round nan_to_num fill zero zeros_like ones_like",
        passes,
    ),
    **_all(
        "dropout feature_dropout alpha_dropout bernoulli clone contiguous detach alias to type_as "
        "float",
        passes,
    ),
    **_all(
        "max_pool1d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d upsample_nearest1d", pool(1)
    ),
    **_all(
        "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d", pool(2)
    ),
    **_all("upsample_bilinear2d upsample_bicubic2d lp_pool2d max_pool2d_with_indices", pool(2)),
    **_all(
        "max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d upsample_nearest3d", pool(3)
    ),
    **_all("mean sum amax amin prod", reduce),
    **_all("std var", deviation),
    **_all("max min", extreme),
    "linalg_vector_norm": vector_norm,
    **_all("softmax log_softmax", softmax),
    **_all("matmul bmm mm", matrix_product),
    **_all("baddbmm addmm", added_product),
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    **_all("cat concat concatenate", concatenate),
    "stack": stack,
    "slice": slices,
    "chunk": chunk,
    **_all("split split_with_sizes tensor_split", pieces),
    "unbind": unbind,
    "getitem": item,
    "select": select,
    "index": gather,
    "embedding": embedding,
    "permute": permute,
    **_all("transpose swapaxes swapdims", transpose),
    **_all("t numpy_T mT", matrix_transpose),
    **_all("movedim moveaxis", move),
    "unsqueeze": unsqueeze,
    **_all("squeeze", squeeze),
    **_all("expand expand_as", expand),
    "repeat": repeat,
    **_all("pad constant_pad_nd", pad),
    **_all("roll flip", reorder),
    **_all("view reshape flatten unflatten _unsafe_view view_as reshape_as", reshape),
    **_all("new_zeros new_ones new_full new_empty zeros ones full arange", unlabelled),
}
