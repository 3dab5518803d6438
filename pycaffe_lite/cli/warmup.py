"""`caffe-lite warmup`: compile kernels now, so that nobody waits for them later. For images, and for CI."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import time
from collections.abc import Sequence
from typing import Any

from ..errors import DataError
from .summary import add_shape_option

# Kernels that work in place are compiled for it: the layers, and the ways they follow each other, that people write so.
START = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 64 dim: 8 dim: 8 } } }
    layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
"""
IN_PLACE = """
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 20 kernel_size: 6 } }
    layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
    layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "relu2" type: "ReLU" bottom: "pool" top: "pool" }
    layer { name: "one" type: "Convolution" bottom: "pool" top: "one"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "two" type: "Convolution" bottom: "pool" top: "two"
            convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
    layer { name: "three" type: "Pooling" bottom: "pool" top: "three"
            pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
    layer { name: "four" type: "Convolution" bottom: "pool" top: "four"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "five" type: "Convolution" bottom: "pool" top: "five"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "concat" type: "Concat" bottom: "one" bottom: "two" bottom: "three" bottom: "four" bottom: "five"
            top: "concat" }
    layer { name: "ip" type: "InnerProduct" bottom: "concat" top: "ip" inner_product_param { num_output: 10 } }
    layer { name: "relu3" type: "ReLU" bottom: "ip" top: "ip" }
    layer { name: "dropout" type: "Dropout" bottom: "ip" top: "ip" }
    layer { name: "elu" type: "ELU" bottom: "ip" top: "ip" }
    layer { name: "sigmoid" type: "Sigmoid" bottom: "ip" top: "ip" }
    layer { name: "tanh" type: "TanH" bottom: "ip" top: "ip" }
    layer { name: "softmax" type: "Softmax" bottom: "ip" top: "ip" }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
BLOCK = """
    layer {{ name: "{0}a" type: "Convolution" bottom: "{0}" top: "{0}a"
            convolution_param {{ num_output: 64 kernel_size: 1 }} }}
    layer {{ name: "{0}norm" type: "BatchNorm" bottom: "{0}a" top: "{0}a" }}
    layer {{ name: "{0}scale" type: "Scale" bottom: "{0}a" top: "{0}a" scale_param {{ bias_term: true }} }}
    layer {{ name: "{0}relu" type: "ReLU" bottom: "{0}a" top: "{0}a" }}
    layer {{ name: "{0}b" type: "Convolution" bottom: "{0}a" top: "{0}b"
            convolution_param {{ num_output: 64 kernel_size: 1 }} }}
    layer {{ name: "{0}norm2" type: "BatchNorm" bottom: "{0}b" top: "{0}b" }}
    layer {{ name: "{0}scale2" type: "Scale" bottom: "{0}b" top: "{0}b" scale_param {{ bias_term: true }} }}
    layer {{ name: "{0}sum" type: "Eltwise" bottom: "{0}" bottom: "{0}b" top: "{0}c" }}
    layer {{ name: "{0}relu2" type: "ReLU" bottom: "{0}c" top: "{0}c" }}
"""
END = """
    layer { name: "ip" type: "InnerProduct" bottom: "dataccc" top: "ip" inner_product_param { num_output: 10 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
USUAL = START + IN_PLACE, "".join([START, *(BLOCK.format(name) for name in ("data", "datac", "datacc")), END])
INSTEAD = "set CAFFE_LITE_CACHE to a folder that can be, with room for some megabytes"
COMPILERS = ("compile", "codegen", "assembly")  # modules of backend.cpu that import numba


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "warmup",
        help="compile kernels now, for a container image or CI",
        description="Compile what nets need on the CPU and keep it in the kernel cache ($CAFFE_LITE_CACHE, or "
        "~/.cache/caffe-lite), so that later processes start within a second. What is there already is not compiled "
        "again. Code is made for this processor: warm up on the kind of machine that will run it.",
        epilog="Example: caffe-lite warmup",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        action="append",
        default=[],
        help="a net's prototxt: only what it needs, to train and to run; may be repeated (default: all layer types)",
    )
    add_shape_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, and say what has been done and where the cache is."""
    from ..backend.cpu import native, processor
    from ..proto import text  # noqa: F401  (before the clock starts)

    folder, problem = native.cache_folder(), native.cache_problem()
    if folder is None or problem:
        raise DataError(f"the kernel cache {folder or ''} cannot be written ({problem}); {INSTEAD}")
    began, before = time.perf_counter(), native.loaded()
    for path in args.model or [""]:
        start, compiled, there = time.perf_counter(), len(native.compiled), native.loaded()
        what = path or "all layer types and solvers"
        model(path, args.shape) if path else everything()
        new, taken = len(native.compiled) - compiled, native.loaded() - there
        print(f"{what}: {new} compiled, {taken - new} there already, {time.perf_counter() - start:.1f} s", flush=True)
    if native.unkept:
        raise DataError(f"{len(native.unkept)} of them could not be kept: the cache {folder} took no more; {INSTEAD}")
    files = list(folder.glob("*.o"))
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{native.loaded() - before} kernels in {time.perf_counter() - began:.1f} s; {processor.processor()[0]}")
    print(f"cache: {folder} ({len(files)} files, {size:.1f} MB)")
    return 0


def model(path: str, shapes: Sequence[str] = ()) -> None:
    """What the net in this file needs: both phases forward, and backward and updates for training."""
    from ..net import offline
    from ..net.locate import locating
    from ..proto import caffe_pb2

    for phase in (caffe_pb2.TRAIN, caffe_pb2.TEST):
        with locating(path):
            net = offline.read_selected(path, phase)
            compile_net(offline.stand_in(net, offline.folder_of(path), offline.parse_shapes(shapes, net)).param)
    launch_once()
    updates(("SGD",), ("L2",))


def compile_net(param: Any) -> None:
    """Compile what the plans of a net launch, its memory shared or not; nothing is run."""
    from ..net.net import Net
    from ..proto import caffe_pb2

    trains = param.state.phase == caffe_pb2.TRAIN
    for shares in (False, True):  # then blobs lie elsewhere, and other kernels work in place
        net = Net.from_proto(param, share_memory=shares, forward_only=shares and not trains)
        net.runner.plan("forward").program.compile()
        if trains:
            net.runner.plan("backward").program.compile()


def launch_once() -> None:
    """Start the threads, which have code of their own."""
    import numpy as np

    from .. import ops

    ops.fill(0, 1, np.zeros(1, np.float32))


def updates(rules: Any, penalties: Any) -> None:
    """Kernels of these solver types with these penalties."""
    import numpy as np

    from ..backend.cpu.native import entry, link
    from ..ops import fill
    from ..solver.rules import update_kernel

    kernels = fill, *(update_kernel(rule, penalty) for rule in rules for penalty in penalties)
    link(entry(kernel, np.dtype(np.float32)) for kernel in kernels)


def everything() -> None:
    """All kernels of all layer types and solvers, in float32, and in place where layers often are."""
    import numpy as np

    from .. import layers
    from ..backend import cpu
    from ..backend.cpu.native import entry, link
    from ..kernel import Kernel
    from ..proto import NetParameter, caffe_pb2, text
    from ..solver import update  # noqa: F401  (has kernels)
    from ..solver.rules import PENALTIES, RULES

    launch_once()
    for name in layers.known():
        layers.find(name)
    for module in pkgutil.iter_modules(cpu.__path__):
        if not module.name.endswith(COMPILERS):
            importlib.import_module(f"{cpu.__name__}.{module.name}")
    updates(RULES, PENALTIES)
    link(entry(kernel, np.dtype(np.float32)) for kernel in list(Kernel.every))
    for source in USUAL:
        for phase in (caffe_pb2.TRAIN, caffe_pb2.TEST):
            net = text.parse(source, NetParameter())
            net.state.phase = phase
            compile_net(net)
