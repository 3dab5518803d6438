"""caffe-lite: Caffe that you can pip install. `import pycaffe_lite as caffe` gives pycaffe's names.

Nothing here imports numba or compiles anything; names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

TRAIN, TEST = 0, 1

# name -> module that defines it
_HOMES = {
    "Net": "net.net",
    "Blob": "blob",
    "Layer": "python_layer",
    "Classifier": "classifier",
    "Detector": "detector",
    "Solver": "solver.solver",
    "get_solver": "solver.solver",
    "set_mode_cpu": "device",
    "set_mode_gpu": "device",
    "set_device": "device",
    "set_random_seed": "random",
    "on_device": "device",
    "seeded": "random",
    "init_log": "process",
    "log": "process",
    "solver_count": "process",
    "set_solver_count": "process",
    "solver_rank": "process",
    "set_solver_rank": "process",
    "set_multiprocess": "process",
    "has_nccl": "process",
    "NCCL": "process",
    "Timer": "process",
    "CaffeError": "errors",
    "ConfigError": "errors",
    "PrototxtError": "errors",
    "WeightsError": "errors",
    "DataError": "errors",
    "UnknownNameError": "errors",
    "DeviceError": "errors",
    "PythonLayerError": "errors",
    "NetSpec": "net_spec",
    "to_proto": "net_spec",
    "install_as_caffe": "caffe_alias",
}
_SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")

__all__ = ["TEST", "TRAIN", "layer_type_list", *_HOMES, *(f"{name}Solver" for name in _SOLVERS)]  # noqa: PLE0604

if TYPE_CHECKING:
    from .blob import Blob as Blob
    from .classifier import Classifier as Classifier
    from .detector import Detector as Detector
    from .device import on_device as on_device
    from .device import set_device as set_device
    from .device import set_mode_cpu as set_mode_cpu
    from .device import set_mode_gpu as set_mode_gpu
    from .net.net import Net as Net
    from .net_spec import NetSpec as NetSpec
    from .net_spec import to_proto as to_proto
    from .process import NCCL as NCCL
    from .process import Timer as Timer
    from .process import has_nccl as has_nccl
    from .process import init_log as init_log
    from .process import log as log
    from .process import set_multiprocess as set_multiprocess
    from .process import set_solver_count as set_solver_count
    from .process import set_solver_rank as set_solver_rank
    from .process import solver_count as solver_count
    from .process import solver_rank as solver_rank
    from .python_layer import Layer as Layer
    from .random import seeded as seeded
    from .random import set_random_seed as set_random_seed
    from .solver.solver import Solver as Solver
    from .solver.solver import get_solver as get_solver


def layer_type_list() -> list[str]:
    """The names of all layer types."""
    from . import layers

    return layers.known()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name.endswith("Solver") and name[:-6] in _SOLVERS:
        value = importlib.import_module(".solver.solver", __name__).TYPES[name[:-6]]
    elif name in ("pycaffe", "_caffe"):  # pycaffe's own modules, whose names are all here
        value = sys.modules[__name__]
    elif not name.startswith("_") and importlib.util.find_spec(f".{name}", __name__):
        value = importlib.import_module(f".{name}", __name__)  # as caffe.io is there after `import caffe`
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
