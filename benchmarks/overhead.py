"""What Python costs around the kernels: calls on a net of one small layer, in microseconds.

python benchmarks/overhead.py [--repeat 7]
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable

import numpy as np

import pycaffe_lite as caffe
from pycaffe_lite.proto import SolverParameter, text

NET = """
force_backward: true
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 } } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }
"""
TRAIN = """
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 1 dim: 8 } shape { dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def calls() -> dict[str, Callable[[], object]]:
    """What is measured, by the words it is shown under."""
    net, x = caffe.Net.from_prototxt(NET), np.zeros((1, 8), np.float32)
    message = f'net_param {{ {TRAIN} }} base_lr: 0.01 lr_policy: "fixed" max_iter: 1'
    solver = caffe.get_solver(text.parse(message, SolverParameter()))
    return {
        "net.forward()": net.forward,
        "net.forward(data=x)": lambda: net.forward(data=x),
        "net.backward()": net.backward,
        "net.predict(x)": lambda: net.predict(x),
        'net.blobs["data"]': lambda: net.blobs["data"],
        'net.blobs["data"].data': lambda: net.blobs["data"].data,
        "solver.step(1), two layers": lambda: solver.step(1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7, help="of so many measurements the best is shown")
    args = parser.parse_args()
    for name, call in calls().items():
        call()
        timer = timeit.Timer(call)
        number = timer.autorange()[0]
        print(f"{name:28} {min(timer.repeat(args.repeat, number)) / number * 1e6:8.2f} us")


if __name__ == "__main__":
    main()
