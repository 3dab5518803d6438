"""All that a GPU has to show, in one command: right values first, then speed, against PyTorch in the same run.

    python benchmarks/gpu.py --peer-python PYTHON_WITH_TORCH --write

Parts (--only A,B for some of them): goldens and exam on the device; emulator against device; compute-sanitizer where
it is installed; LeNet replayed and end to end from LMDB; CaffeNet, GoogLeNet and ResNet-50. Nets and peer come from
the reference material beside the checkout (or in $CAFFE_LITE_SHARED). --write puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet import ROOT, SHARED, prepare, run

SIDE = str(ROOT / "benchmarks" / "gpu_side.py")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by benchmarks/gpu.py -->", "<!-- end of gpu results -->"
NETS = {"LeNet": "lenet", "CaffeNet": "caffenet", "GoogLeNet": "googlenet", "ResNet-50": "resnet50"}
PARTS = ("goldens", "emulator", "sanitizer", "lenet", "nets")
GOLDENS = [
    "tests/layers/test_golden_layers.py", "tests/layers/test_exam.py", "tests/solver/test_golden_solvers.py",
    "tests/backend/test_on_devices.py", "tests/gpu/test_training.py", "tests/gpu/test_updates.py",
]  # fmt: skip
SANITIZERS = ("memcheck", "racecheck")
Row = tuple[str, str]


def pytest(*args: str, tool: str | None = None) -> Row:
    """Tests on the device: the command, and what became of it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args, "-k", "gpu and not emulated"]
    around = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9"] if tool else []
    done = subprocess.run([*around, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], file=sys.stderr)
    passed = next((line for line in reversed(done.stdout.splitlines()) if "passed" in line), "no test ran")
    return f"{tool or 'tests'} on the device", "**FAILED**" if done.returncode else passed.strip("= ")


def goldens(args: argparse.Namespace) -> list[Row]:
    """Caffe's own arrays, the exam of all layers, captured against eager runs, all solvers."""
    return [pytest("-rs", *GOLDENS)]


def sanitizer(args: argparse.Namespace) -> list[Row]:
    """NVIDIA's sanitizers over the exam, where they are installed."""
    try:
        subprocess.run(["compute-sanitizer", "--version"], capture_output=True, check=True)
    except OSError:
        return [("compute-sanitizer", "not installed")]
    return [pytest("tests/layers/test_exam.py", tool=tool) for tool in SANITIZERS]


def emulator(args: argparse.Namespace) -> list[Row]:
    """Every case of the exam on the emulator and on the device: the largest difference, relative to the array."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "layers"), str(ROOT / "tests" / "gpu"), str(ROOT)]
    import numpy as np
    from cases import CASES
    from emulator import EmulatedGpu
    from exam import Run, build

    from pycaffe_lite import device as devices

    worst, where, count = 0.0, "", 0
    for name, case in ((kind, case) for kind, cases in CASES.items() for case in cases):
        results = []
        for device in (EmulatedGpu(), devices.gpu(args.gpu)):
            with devices.using(device):
                made = Run(build(case, np.float32), case)
                results.append([made.forward(), *(made.backward() if case.gradient else ())])
        for mine, theirs in zip(*results):
            for a, b in zip(mine, theirs):
                scale = max(1.0, float(np.abs(b).max(initial=0, where=np.isfinite(b))))
                error = float(np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max(initial=0)) / scale
                worst, where = max((worst, where), (error, name))
        count += 1
    return [(f"emulator against device, {count} cases", f"at most {worst:.1e} apart ({where})")]


def turns(sides: dict[str, list[str]], args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each side measures, in turns, so that a busy moment hits all."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(args.rounds):
        for side, command in sides.items():
            found[side].append(run(command))
        latest = ", ".join(f"{side} {results[-1]['ms']:.4f} ms" for side, results in found.items())
        print(f"round {number + 1}: {latest}", file=sys.stderr)
    return found


def sides(file: str, args: argparse.Namespace, *options: str) -> dict[str, list[str]]:
    """The commands that train one net: here, and in PyTorch in each of its ways."""
    rest = ["--iterations", str(args.iterations), "--gpu", str(args.gpu), *(["--tf32"] if args.tf32 else []), *options]
    ours = [sys.executable, SIDE, "net", file, *rest]
    made = {"caffe-lite": ours, "caffe-lite --no-graph": [*ours, "--no-graph"]}
    if args.peer_python:
        peer = [args.peer_python, SIDE, "torch", file, *rest, "--peer", str(SHARED / "bench" / "torch_peer.py")]
        for layout in ("nchw", "nhwc"):
            made[f"PyTorch {layout}, eager"] = [*peer, "--layout", layout, "--no-graph"]
            made[f"PyTorch {layout}, CUDA graph"] = [*peer, "--layout", layout]
    return made


def rows_of(name: str, found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """A line for each side, and ratios to PyTorch's best, eager and as a graph."""
    medians = {side: statistics.median(r["ms"] for r in results) for side, results in found.items()}
    first = found["caffe-lite"][0]
    rows = [(f"{name}, batch {first['batch']}", f"{first['nodes']} nodes a step")]
    for side, ms in medians.items():
        times = [r["ms"] for r in found[side]]
        spread = f"runs {min(times):.4f} to {max(times):.4f} ms"
        rows.append((f"{name}, {side}", f"{ms:.4f} ms, {1e3 / ms:,.0f} iterations/s ({spread})"))
    for kind in ("eager", "CUDA graph"):
        peers = [ms for side, ms in medians.items() if side.endswith(kind)]
        if peers:
            rows.append(
                (f"{name}, PyTorch's best {kind} / caffe-lite", f"**{min(peers) / medians['caffe-lite']:.2f}**")
            )
    return rows


def bench_net(name: str) -> str:
    """The prototxt of a net to be measured."""
    path = SHARED / "bench" / "nets" / f"{NETS[name]}_train.prototxt"
    if not path.exists():
        raise SystemExit(f"{path}: not there; set CAFFE_LITE_SHARED to the folder of reference material")
    return str(path)


def lenet(args: argparse.Namespace) -> list[Row]:
    """LeNet with its data on the device, and from a database: kept on the device, or uploaded batch by batch."""
    rows = rows_of("LeNet", turns(sides(bench_net("LeNet"), args), args))
    with tempfile.TemporaryDirectory() as folder:
        solver = str(prepare(Path(folder)))
        command = [sys.executable, SIDE, "lmdb", solver, "--iterations", str(args.iterations), "--gpu", str(args.gpu)]
        ways = {"data kept on the device": command, "batches uploaded": [*command, "--keep-data", "0"]}
        for way, results in turns(ways, args).items():
            ms = statistics.median(r["ms"] for r in results)
            rows.append((f"LeNet from LMDB, {way}", f"{ms:.4f} ms, {1e3 / ms:,.0f} iterations/s"))
    return rows


def nets(args: argparse.Namespace) -> list[Row]:
    """The larger nets."""
    found = []
    for name in args.nets:
        found += rows_of(name, turns(sides(bench_net(name), args), args))
    return found


def machine(args: argparse.Namespace) -> str:
    """GPU, driver and versions, in a line."""
    from pycaffe_lite import device as devices
    from pycaffe_lite.backend.gpu.device import version as cuda

    gpu: Any = devices.gpu(args.gpu)
    runtime = gpu.cupy.cuda.runtime
    name = runtime.getDeviceProperties(args.gpu)["name"].decode()
    libraries = ", ".join(
        f"{n} {lib.version if lib else 'missing'}" for n, lib in (("cuBLAS", gpu.blas), ("cuDNN", gpu.dnn))
    )
    driver = f"driver for CUDA {cuda(runtime.driverGetVersion())}, CUDA {cuda(runtime.runtimeGetVersion())}"
    tf32 = "TF32 on both sides" if args.tf32 else "true float32 on both sides"
    return f"{name}, {driver}, {libraries}, CuPy {gpu.cupy.__version__}, {tf32}"


def table(rows: list[Row], told: str) -> str:
    """The rows in Markdown."""
    commit = ["git", "describe", "--always", "--dirty"]
    at = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    lines = [f"Measured at {at or 'no commit'}: {told}.", "", "| what | result |", "|---|---|"]
    return "\n".join(lines + [f"| {what} | {result} |" for what, result in rows])


def write(text: str, document: Path = DOCUMENT) -> None:
    """Replace the results in the document."""
    whole = document.read_text("utf-8")
    before, rest = whole.split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


def chosen(known: dict[str, Any] | tuple[str, ...]) -> Callable[[str], list[str]]:
    """Reads a comma-separated choice among these."""

    def read(text: str) -> list[str]:
        wanted = text.split(",")
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return wanted

    return read


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--gpu", type=int, default=0, metavar="N", help="the number of the GPU (default: 0)")
    made.add_argument("--peer-python", metavar="PYTHON", help="a Python that has torch with CUDA (default: no peer)")
    made.add_argument("--rounds", type=int, default=5, help="processes of each kind (default: 5)")
    made.add_argument("--iterations", type=int, default=500, help="timed in each process (default: 500)")
    larger = [name for name in NETS if name != "LeNet"]
    made.add_argument("--nets", type=chosen(NETS), default=larger, help=f"default: {','.join(larger)}")
    made.add_argument("--only", type=chosen(PARTS), default=PARTS, help=f"of {','.join(PARTS)} (default: all)")
    made.add_argument("--tf32", action="store_true", help="TF32, on both sides")
    made.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    return made


def main() -> None:
    """Check and measure, print; with --write also into the document."""
    args = parser().parse_args()
    from pycaffe_lite.errors import DeviceError

    try:
        told = machine(args)
    except DeviceError as error:
        raise SystemExit(str(error)) from error
    rows: list[Row] = []
    for part in args.only:
        rows += {"goldens": goldens, "emulator": emulator, "sanitizer": sanitizer, "lenet": lenet, "nets": nets}[part](
            args
        )
    text = table(rows, told)
    print(text)
    if args.write:
        write(text)


if __name__ == "__main__":
    main()
