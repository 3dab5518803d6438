"""Rules on BatchNorm and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator

from .rules import ERROR, HINT, NET, TESTED, TRAINED, WARNING, Hit, rule
from .view import NetView


@rule("bias-before-batch-norm", HINT, TRAINED)
def bias_before_batch_norm(net: NetView) -> Iterator[Hit]:
    """BatchNorm subtracts the mean, and the bias with it: such a bias learns nothing, and costs time and memory."""
    for i, layer in net.each("BatchNorm"):
        front = net.maker(i)
        alone = net.is_linear(front) and net.links.only_reader(net.links.sources[i][0]) == i
        if alone and net.own(front).bias_term and not layer.batch_norm_param.use_global_stats:
            yield Hit(f"its bias is subtracted again by BatchNorm {layer.name!r}", "bias_term: false", front)


@rule("batch-norm-without-scale", HINT, TRAINED)
def batch_norm_without_scale(net: NetView) -> Iterator[Hit]:
    """Caffe's BatchNorm only normalises; without factors and biases learnt behind it, a nonlinearity sees the same
    narrow range in every channel. Frameworks whose batch norm includes them train differently."""
    for i, layer in net.each("BatchNorm"):
        readers = net.readers(i)
        if readers and not any(reader.type == "Scale" or net.is_linear(reader) for reader in readers):
            yield Hit(
                f"no Scale layer follows, but {readers[0].type} {readers[0].name!r}",
                "add a Scale layer with bias_term: true behind it",
                layer,
            )


@rule("scale-without-bias", HINT, TRAINED)
def scale_without_bias(net: NetView) -> Iterator[Hit]:
    """Behind BatchNorm all channels have mean 0; without a bias they keep it, and a ReLU cuts each one in half."""
    for i, layer in net.each("Scale"):
        front = net.maker(i)
        behind = any(net.is_linear(reader) or reader.type == "Bias" for reader in net.readers(i))
        if front is not None and front.type == "BatchNorm" and not layer.scale_param.bias_term and not behind:
            yield Hit(
                f"it has no bias, though it follows BatchNorm {front.name!r}", "scale_param { bias_term: true }", layer
            )


@rule("global-statistics-in-training", WARNING, TRAINED)
def global_statistics_in_training(net: NetView) -> Iterator[Hit]:
    """With use_global_stats, BatchNorm normalises by statistics from elsewhere and never updates them: right for
    fine-tuning with frozen statistics, but from scratch they are zeros, and all values grow by a factor of 300."""
    for i, layer in net.each("BatchNorm"):
        scales = [reader for reader in net.readers(i) if reader.type == "Scale"]
        frozen = any(not net.learns(scale) for scale in scales)  # done on purpose, as in Faster R-CNN's ResNets
        if layer.batch_norm_param.use_global_stats and not frozen and layer.name not in net.weights:
            yield Hit(
                "use_global_stats: true",
                "leave use_global_stats out: by default it is false in TRAIN and true in TEST",
                layer, "batch_norm_param.use_global_stats",
            )  # fmt: skip


@rule("batch-statistics-in-testing", WARNING, TESTED)
def batch_statistics_in_testing(net: NetView) -> Iterator[Hit]:
    """With use_global_stats: false, the score of a sample depends on the others in its batch, and a batch of one
    sample gives nonsense."""
    for _, layer in net.each("BatchNorm"):
        param = layer.batch_norm_param
        if param.HasField("use_global_stats") and not param.use_global_stats:
            yield Hit(
                "use_global_stats: false",
                "leave use_global_stats out: by default it is false in TRAIN and true in TEST",
                layer, "batch_norm_param.use_global_stats",
            )  # fmt: skip


@rule("batch-norm-factor-zero", ERROR, TESTED)
def batch_norm_factor_zero(net: NetView) -> Iterator[Hit]:
    """The third blob of BatchNorm is what the sums in the others are divided by; if it is 0, mean and variance count
    as 0, and values are multiplied by 1 / sqrt(eps), about 300."""
    for _, layer in net.each("BatchNorm"):
        stored = net.weights.get(layer.name)
        if stored is not None and 2 in stored.params and not stored.params[2].read().any():
            yield Hit(
                "its statistics in the weights have the factor 0: they were never computed",
                "use weights from a training in which BatchNorm ran without use_global_stats, or set the blob to 1 "
                "if the other two hold plain means and variances",
                layer,
            )  # fmt: skip


@rule("rate-of-statistics", HINT, NET)
def rate_of_statistics(net: NetView) -> Iterator[Hit]:
    """BatchNorm computes its blobs itself; Caffe sets their lr_mult to 0 whatever the file says."""
    chosen = {id(layer) for layer in net.layers}
    names = {layer.name for layer in net.layers if layer.type == "BatchNorm" and id(layer) in chosen}
    for layer in net.raw.layer:
        if layer.type == "BatchNorm" and layer.name in names and len(layer.param) == 3:
            rates = [spec.lr_mult for spec in layer.param if spec.HasField("lr_mult") and spec.lr_mult]
            if rates:
                yield Hit(
                    f"lr_mult: {rates[0]:g} for its statistics has no effect",
                    "leave `param` out", layer, "param.lr_mult",
                )  # fmt: skip
