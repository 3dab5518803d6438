"""The nets of the benchmarks that are not in the reference material, made with NetSpec for training on random data.

python benchmarks/zoo.py squeezenet > squeezenet.prototxt
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pycaffe_lite import layers as L
from pycaffe_lite import params as P
from pycaffe_lite.net_spec import NetSpec, Top

XAVIER: dict[str, Any] = {"weight_filler": {"type": "xavier"}}
MAX, AVE = P.Pooling.MAX, P.Pooling.AVE


def start(batch: int, size: int) -> tuple[NetSpec, Top]:
    """A net that is given images of three channels, and labels."""
    net = NetSpec()
    net.data, net.label = L.Input(shape=[{"dim": [batch, 3, size, size]}, {"dim": [batch]}], ntop=2)
    return net, net.data


def finish(net: NetSpec, scores: Top) -> str:
    """The net with its loss, as text."""
    net.loss = L.SoftmaxWithLoss(scores, net.label)
    return str(net.to_proto())


def put(net: NetSpec, name: str, layer: Top) -> Top:
    """Give a layer its name."""
    setattr(net, name, layer)
    return layer


def convolved(net: NetSpec, name: str, x: Top, outputs: int, **fields: Any) -> Top:
    """A convolution and the ReLU behind it."""
    x = put(net, name, L.Convolution(x, num_output=outputs, **XAVIER, **fields))
    return put(net, f"{name}_relu", L.ReLU(x, in_place=True))


def cifar10_quick(batch: int = 100) -> str:
    """Krizhevsky's quick net for CIFAR-10: three convolutions of 5x5."""
    net, x = start(batch, 32)
    x = put(net, "conv1", L.Convolution(x, num_output=32, kernel_size=5, pad=2, **XAVIER))
    x = put(net, "pool1", L.Pooling(x, pool=MAX, kernel_size=3, stride=2))
    x = put(net, "relu1", L.ReLU(x, in_place=True))
    for number, outputs in ((2, 32), (3, 64)):
        x = convolved(net, f"conv{number}", x, outputs, kernel_size=5, pad=2)
        x = put(net, f"pool{number}", L.Pooling(x, pool=AVE, kernel_size=3, stride=2))
    x = put(net, "ip1", L.InnerProduct(x, num_output=64, **XAVIER))
    return finish(net, put(net, "ip2", L.InnerProduct(x, num_output=10, **XAVIER)))


def squeezenet(batch: int = 16) -> str:
    """SqueezeNet 1.1: fires squeeze channels by 1x1 and expand them by 1x1 and 3x3."""
    net, x = start(batch, 227)
    x = convolved(net, "conv1", x, 64, kernel_size=3, stride=2)
    x = put(net, "pool1", L.Pooling(x, pool=MAX, kernel_size=3, stride=2))
    for number, narrow in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64)):
        fire = f"fire{number}"
        squeezed = convolved(net, f"{fire}_squeeze", x, narrow, kernel_size=1)
        wide = [
            convolved(net, f"{fire}_expand{side}", squeezed, 4 * narrow, kernel_size=side, pad=side // 2)
            for side in (1, 3)
        ]
        x = put(net, f"{fire}_concat", L.Concat(*wide))
        if number in (3, 5):
            x = put(net, f"pool{number}", L.Pooling(x, pool=MAX, kernel_size=3, stride=2))
    x = put(net, "drop9", L.Dropout(x, dropout_ratio=0.5, in_place=True))
    x = convolved(net, "conv10", x, 1000, kernel_size=1)
    return finish(net, put(net, "pool10", L.Pooling(x, pool=AVE, global_pooling=True)))


def normalised(net: NetSpec, name: str, x: Top, outputs: int, **fields: Any) -> Top:
    """A convolution without bias, BatchNorm, Scale and ReLU."""
    x = put(net, name, L.Convolution(x, num_output=outputs, bias_term=False, **XAVIER, **fields))
    x = put(net, f"{name}_bn", L.BatchNorm(x, in_place=True))
    x = put(net, f"{name}_scale", L.Scale(x, bias_term=True, in_place=True))
    return put(net, f"{name}_relu", L.ReLU(x, in_place=True))


def mobilenet(batch: int = 8) -> str:
    """MobileNet v1: depthwise 3x3 and 1x1 convolutions in turns."""
    net, x = start(batch, 224)
    x, channels = normalised(net, "conv1", x, 32, kernel_size=3, stride=2, pad=1), 32
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (outputs, stride) in enumerate(blocks, 2):
        fields = {"kernel_size": 3, "stride": stride, "pad": 1, "group": channels}
        x = normalised(net, f"conv{number}_dw", x, channels, **fields)
        x, channels = normalised(net, f"conv{number}", x, outputs, kernel_size=1), outputs
    x = put(net, "pool", L.Pooling(x, pool=AVE, global_pooling=True))
    return finish(net, put(net, "fc", L.InnerProduct(x, num_output=1000, **XAVIER)))


NETS: dict[str, Callable[..., str]] = {"cifar10_quick": cifar10_quick, "mobilenet": mobilenet, "squeezenet": squeezenet}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NETS:
        raise SystemExit(f"usage: zoo.py {'|'.join(NETS)}")
    print(NETS[sys.argv[1]]())
