"""Options that several verbs share."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import traceback
from typing import Any

from .. import device
from ..errors import ConfigError, DeviceError
from ..logs import log
from ..proto import caffe_pb2


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """--gpu, --cpu, --no-graph, --tf32, --precision, --keep-data and --threads."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gpu", metavar="N", help="compute on GPU number N (default: as solver_mode says)")
    where.add_argument("--cpu", action="store_true", help="compute on the CPU, whatever solver_mode says")
    parser.add_argument(
        "--no-graph", action="store_true", help="GPU: launch kernel by kernel, to find faults; same results"
    )
    parser.add_argument("--tf32", action="store_true", help="GPU: faster products that round their inputs to 10 bits")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "bf16"),
        default="fp32",
        help="GPU: what products and convolutions round their inputs to (default: fp32); weights stay fp32, fp16 "
        "scales the loss",
    )
    parser.add_argument(
        "--keep-data", metavar="MB", help="GPU: keep data sets up to this size there, whole (default: 256; 0: none)"
    )
    parser.add_argument("--threads", metavar="N", help="CPU threads (default: all processors); results stay the same")


def add_net_options(parser: argparse.ArgumentParser) -> None:
    """--level, --stage, --allow-unknown-fields, --without, --no-python-layers and --import."""
    parser.add_argument(
        "--level", type=int, default=0, metavar="N", help="the net's level, for include rules (default: 0)"
    )
    parser.add_argument(
        "--stage", default="", metavar="A,B", help="the net's stages, for include and exclude rules (default: none)"
    )
    parser.add_argument(
        "--allow-unknown-fields", action="store_true", help="skip fields that Caffe does not have, with a warning each"
    )
    parser.add_argument(
        "--without",
        metavar="A,B",
        action=LeaveOut,
        help="leave out these passes that join layers, or all (default: none); results stay the same",
    )
    parser.add_argument("--no-python-layers", nargs=0, action=RefusePythonLayers, help="refuse nets with Python layers")
    add_import_option(parser)


def add_share_option(parser: argparse.ArgumentParser) -> None:
    """--no-share."""
    parser.add_argument(
        "--no-share", action="store_true", help="give every blob memory of its own (default: by turns); same results"
    )


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """--import."""
    parser.add_argument(
        "--import", dest="imports", metavar="FILE", action="append", help="a Python file with layer types of your own"
    )


class LeaveOut(argparse.Action):
    """--without: nets made from now on are planned without these passes."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        from ..net import passes

        try:
            passes.left_out(values.replace(",", " ").split())
        except ConfigError as error:
            raise argparse.ArgumentError(self, str(error).removeprefix("without: ")) from error
        os.environ[passes.VARIABLE] = values


class RefusePythonLayers(argparse.Action):
    """--no-python-layers: nets made from now on may have none."""

    def __call__(self, *args: Any) -> None:
        from ..layers import python

        python.allowed = False


def add_mismatch_option(parser: argparse.ArgumentParser) -> None:
    """--ignore-mismatch."""
    parser.add_argument(
        "--ignore-mismatch",
        action="store_true",
        help="leave layers as they are for which the weights have another shape, instead of refusing the file",
    )


def import_layers(args: argparse.Namespace) -> None:
    """Run the files given with --import; the layer types in them are known from then on."""
    for path in getattr(args, "imports", None) or ():
        name = os.path.splitext(os.path.basename(path))[0]
        spec = importlib.util.spec_from_file_location(name, path) if os.path.isfile(path) else None
        if spec is None or spec.loader is None:
            raise ConfigError(f"--import: must be a Python file (.py), got {path!r}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"--import {path} failed:\n{traceback.format_exc().strip()}") from error


def stages(args: argparse.Namespace) -> list[str]:
    """The stages given, as a list."""
    return [s for s in args.stage.split(",") if s]


def choose_device(args: argparse.Namespace, solver: Any = None) -> str:
    """Set the device that options and solver ask for; returns the line that says which."""
    line = _choose_device(args, solver)
    if args.precision != "fp32" and not device.current().asynchronous:
        raise ConfigError(
            f"--precision {args.precision}: needs a GPU, but this runs on the CPU; leave it out, or --gpu 0"
        )
    return line


def _choose_device(args: argparse.Namespace, solver: Any) -> str:
    from ..backend.cpu import pool
    from ..net.locate import locating

    if args.threads is not None:
        try:
            pool.set_threads(args.threads)
        except ConfigError as error:
            raise ConfigError(f"--{error}") from error
    precision = None if args.precision == "fp32" else args.precision
    device.set_gpu_options(captures=not args.no_graph, tf32=args.tf32, precision=precision)
    if args.keep_data is not None:
        if not args.keep_data.isdecimal():
            raise ConfigError(f"--keep-data: must be a number of megabytes, got {args.keep_data!r}")
        device.set_gpu_options(most_kept_data=int(args.keep_data) << 20)
    if args.gpu is not None:
        if "," in args.gpu or not args.gpu.isdecimal():
            raise ConfigError(f"--gpu: must be the number of one GPU, got {args.gpu!r}")
        device.set_device(int(args.gpu))
        device.set_mode_gpu()
        return f"Using GPU {args.gpu}"
    gpu = caffe_pb2.SolverParameter.GPU
    wanted = solver is not None and solver.HasField("solver_mode") and solver.solver_mode == gpu
    if wanted and not args.cpu:
        with locating(args.solver):
            try:
                device.set_device(solver.device_id)
                device.set_mode_gpu()
            except DeviceError as error:
                raise DeviceError(f"solver_mode: {error}") from error
        return f"Using GPU {solver.device_id}"
    if solver is not None and not solver.HasField("solver_mode") and not args.cpu:
        try:
            device.set_mode_gpu()
            return "Using GPU 0: solver_mode is not given, and there is one (--cpu for the CPU)"
        except DeviceError as error:
            if precision:
                raise
            if importlib.util.find_spec("cupy"):  # there was an intention
                log.info("solver_mode is not given; %s", error)
    device.set_mode_cpu()
    return "Use CPU."
