"""Seven nets here and in PyTorch: training, forward, and use at batch 1 and at the net's own; time and memory.

    python benchmarks/nets.py --peer-python PYTHON_WITH_TORCH [--nets googlenet,lenet] [--modes train] [--write]

Sides take turns, each time in a fresh process, with the same prototxt, batch and threads: here, PyTorch NCHW,
PyTorch NHWC, here ... A side counts with the median of its processes' medians, PyTorch with its better layout.
Memory is the peak of a whole process, and the same less what importing the package alone takes. --write replaces
the rows measured in docs/benchmarks.md and leaves the others, each with its own date and commit. The peer,
torch_peer.py, and four of the nets are reference material beside the checkout (or in $CAFFE_LITE_SHARED); the
others are made by zoo.py. startup.py has a table of first iterations, kernels.py one of layers.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import zoo
from measure import PEER, SHARED, WORKER, machine, read, run, when, write

# name: the batch it is trained with, and iterations by the clock in a process
NETS = {
    "lenet": (64, 100),
    "cifar10_quick": (100, 50),
    "caffenet": (16, 8),
    "googlenet": (8, 8),
    "resnet50": (8, 6),
    "mobilenet": (8, 10),
    "squeezenet": (16, 10),
}
CASES = ("train", "forward", "infer", "infer 1")
LAYOUTS = ("nchw", "nhwc")
COLUMNS = (
    "net", "batch", "case", "here ms", "PyTorch ms", "here / PyTorch",
    "memory MB", "PyTorch MB", "ratio", "process MB", "PyTorch MB", "ratio", "measured",
)  # fmt: skip


class Side(NamedTuple):
    """What one side's processes gave."""

    milliseconds: float
    megabytes: float  # above a bare import
    whole: float  # of the process

    @classmethod
    def of(cls, found: list[dict[str, Any]], bare: float) -> Side:
        """The medians of medians and of peaks."""
        peaks = [f["peak_mb"] if "peak_mb" in f else f["peak_rss_kib"] * 1024 / 1e6 for f in found]
        peak = statistics.median(peaks)
        return cls(statistics.median(f["median_ms"] for f in found), peak - bare, peak)


def bare_imports(peer: str | None) -> dict[str, float]:
    """Peak megabytes of processes that only import: ours, and torch."""
    found = {"here": run([sys.executable, WORKER, "import"])["peak_mb"]}
    if peer:
        program = "import torch, resource, json; print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
        found["PyTorch"] = float(run([peer, "-c", program])) * 1024 / 1e6  # type: ignore[arg-type]
    return found


def measure(net: str, case: str, path: Path, bare: dict[str, float], args: argparse.Namespace) -> str:
    """A row of the table."""
    mode, _, one = case.partition(" ")
    batch, count = int(one or NETS[net][0]), args.iterations or NETS[net][1]
    shared = ["--mode", mode, "--batch", str(batch)]
    ours = [sys.executable, WORKER, "iteration", str(path), "--iterations", str(count), *shared]
    peer = [args.peer_python, PEER, str(path), "--iters", str(count), "--threads", str(args.threads), *shared]
    found: dict[str, list[dict[str, Any]]] = {"here": []}
    for _ in range(args.rounds):
        found["here"].append(run(ours, CAFFE_LITE_THREADS=str(args.threads)))
        for layout in LAYOUTS if args.peer_python else ():
            found.setdefault(layout, []).append(run([*peer, "--layout", layout]))
    here = Side.of(found.pop("here"), bare["here"])
    cells = [net, str(batch), mode, f"{here.milliseconds:.2f}", "", "", f"{here.megabytes:.0f}", "", ""]
    cells += [f"{here.whole:.0f}", "", "", when()]
    if found:
        sides = {layout: Side.of(times, bare["PyTorch"]) for layout, times in found.items()}
        layout, best = min(sides.items(), key=lambda item: item[1].milliseconds)
        least, whole = min(side.megabytes for side in sides.values()), min(side.whole for side in sides.values())
        cells[4:6] = f"{best.milliseconds:.2f} ({layout})", f"**{here.milliseconds / best.milliseconds:.2f}**"
        cells[7:9] = f"{least:.0f}", f"{here.megabytes / max(1.0, least):.2f}"
        cells[10:12] = f"{whole:.0f}", f"{here.whole / whole:.2f}"
    row = f"| {' | '.join(cells)} |"
    print(row, file=sys.stderr)
    return row


def prepare(net: str, folder: Path) -> Path:
    """The prototxt of a net."""
    if net not in zoo.NETS:
        path = SHARED / "bench" / "nets" / f"{net}_train.prototxt"
        if not path.exists():
            raise SystemExit(f"{path}: not there; set CAFFE_LITE_SHARED to the folder of reference material")
        return path
    path = folder / f"{net}.prototxt"
    path.write_text(zoo.NETS[net](NETS[net][0]), "utf-8")
    return path


def key(row: str) -> tuple[str, ...]:
    """Net, batch and case of a row: what tells it from others."""
    return tuple(cell.strip() for cell in row.split("|")[1:4])


def merged(rows: list[str], before: str) -> list[str]:
    """The rows of the document with these in their places, in the order of NETS."""
    known = {key(row): row for row in re.findall(r"^\| .*$", before, re.MULTILINE) if key(row)[0] in NETS}
    known |= {key(row): row for row in rows}
    names, cases = list(NETS), [case.split()[0] for case in CASES]
    return [known[k] for k in sorted(known, key=lambda k: (names.index(k[0]), cases.index(k[2]), -int(k[1])))]


def table(rows: list[str], threads: int) -> str:
    """The rows in Markdown."""
    return "\n".join([f"On {machine(threads)}.", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows])


def chosen(given: str, known: Any, what: str) -> list[str]:
    """Names separated by commas, each one known."""
    names = given.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"--{what}: unknown {name!r}; known: {', '.join(known)}")
    return names


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PYTHON", help="a Python that has torch (default: no peer)")
    parser.add_argument("--nets", default=",".join(NETS), help="some of them, with commas (default: all)")
    parser.add_argument("--modes", default=",".join(CASES), help=f"some of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side (default: 3)")
    parser.add_argument("--iterations", type=int, help="by the clock in each process (default: as the net needs)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: all processors")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/benchmarks.md")
    args = parser.parse_args()
    nets, cases = chosen(args.nets, NETS, "nets"), chosen(args.modes, CASES, "modes")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {net: prepare(net, Path(folder)) for net in nets}
        for path in paths.values():  # fill the kernel cache: compiling takes memory that running does not
            for mode in dict.fromkeys(case.split()[0] for case in cases):
                for batch in dict.fromkeys(["1", ""] if mode == "infer" else [""]):
                    size = ["--batch", batch] if batch else []
                    run([sys.executable, WORKER, "iteration", str(path), "--iterations", "1", "--mode", mode, *size])
        bare = bare_imports(args.peer_python)
        for net in nets:
            for case in cases:
                rows.append(measure(net, case, paths[net], bare, args))
                if args.write:  # row by row: a run that is stopped has not been in vain
                    write("nets.py", table(merged(rows, read("nets.py")), args.threads))
    print(table(rows, args.threads))


if __name__ == "__main__":
    main()
