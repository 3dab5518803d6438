"""One measurement on a GPU in a process of its own; prints a JSON object. `gpu.py` starts these.

python benchmarks/gpu_side.py net NET --iterations 500 [--no-graph] [--tf32] [--precision fp16]
python benchmarks/gpu_side.py lmdb SOLVER --iterations 2000 [--keep-data MB]
python benchmarks/gpu_side.py torch NET --peer torch_peer.py [--layout nhwc] [--no-graph] [--tf32]     (torch's Python)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP = 20  # iterations before the clock starts: what compiles, what chooses algorithms, what captures


def clocked(step: Callable[[int], Any], wait: Callable[[], None], iterations: int) -> dict[str, float]:
    """Milliseconds of an iteration: many in one go, from a device at rest to one at rest again."""
    step(WARM_UP)
    wait()
    begin = time.perf_counter()
    step(iterations)
    wait()
    return {"ms": 1e3 * (time.perf_counter() - begin) / iterations}


def device(args: argparse.Namespace) -> Any:
    """The GPU with the options given."""
    from pycaffe_lite import device as devices

    options: dict[str, Any] = {"captures": not args.no_graph, "tf32": args.tf32, "precision": args.precision}
    devices.set_gpu_options(**options, most_kept_data=args.keep_data << 20)
    return devices.gpu(args.gpu)


def net(args: argparse.Namespace) -> dict[str, Any]:
    """Forward, backward and update on random data that is on the device already, with the peer's solver."""
    import numpy as np

    from pycaffe_lite import device as devices
    from pycaffe_lite.proto import SolverParameter
    from pycaffe_lite.solver.solver import Solver

    gpu = device(args)
    with devices.using(gpu):
        fields = {"base_lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005, "lr_policy": "fixed", "random_seed": 1}
        solver = Solver(SolverParameter(net=args.file, **fields), reports=[])
    random = np.random.default_rng(0)
    data, label = (solver.net.blobs[name] for name in solver.net.inputs)
    data.data[...] = random.random(data.shape)
    label.data[...] = random.integers(0, 10, label.shape)
    found: dict[str, Any] = clocked(solver.step, gpu.synchronize, args.iterations)
    return found | {"batch": data.shape[0], "nodes": len(solver.iterations.told)}


def lmdb(args: argparse.Namespace) -> dict[str, float]:
    """Training as the command line does it, from a database, without tests."""
    from pycaffe_lite import device as devices
    from pycaffe_lite.solver.solver import get_solver

    gpu = device(args)
    with devices.using(gpu):
        solver = get_solver(args.file, reports=[])
    solver.param.test_interval = 0
    return clocked(solver.step, gpu.synchronize, args.iterations)


def torch(args: argparse.Namespace) -> dict[str, float]:
    """The same net in PyTorch: eagerly, or the whole step as one CUDA graph."""
    import importlib.util

    import torch as t

    spec = importlib.util.spec_from_file_location("torch_peer", args.peer)
    peer = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(peer)  # type: ignore[union-attr]
    t.backends.cuda.matmul.allow_tf32 = t.backends.cudnn.allow_tf32 = args.tf32
    t.backends.cudnn.benchmark = True
    t.cuda.set_device(args.gpu)
    layers, shapes = [], {}
    for layer in peer.parse(Path(args.file).read_text("utf-8"))["layer"]:
        if layer["type"] == ["Input"]:
            dims = [[int(d) for d in shape["dim"]] for shape in layer["input_param"][0]["shape"]]
            shapes.update(zip(layer["top"], dims))
        elif peer.active(layer, "TRAIN"):
            layers.append(layer)
    model = peer.Net(layers, shapes).cuda().train()
    names = list(shapes)
    data = t.rand(shapes[names[0]], device="cuda")
    label = t.randint(0, 10, (shapes[names[0]][0],), device="cuda")
    if args.layout == "nhwc":
        model, data = model.to(memory_format=t.channels_last), data.to(memory_format=t.channels_last)
    optimizer = t.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=0.0005, fused=True)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(data, label, names)[0].backward()
        optimizer.step()

    one = train
    if not args.no_graph:
        aside = t.cuda.Stream()
        aside.wait_stream(t.cuda.current_stream())
        with t.cuda.stream(aside):
            for _ in range(5):
                train()
        t.cuda.current_stream().wait_stream(aside)
        graph = t.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with t.cuda.graph(graph):
            train()
        one = graph.replay

    def step(count: int) -> None:
        for _ in range(count):
            one()

    return clocked(step, t.cuda.synchronize, args.iterations)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("net", "lmdb", "torch"))
    parser.add_argument("file")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--no-graph", action="store_true")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--precision", choices=("fp16", "bf16"))
    parser.add_argument("--keep-data", type=int, default=256)
    parser.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw")
    parser.add_argument("--peer")
    args = parser.parse_args()
    print(json.dumps({"net": net, "lmdb": lmdb, "torch": torch}[args.what](args)))


if __name__ == "__main__":
    main()
