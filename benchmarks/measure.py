"""What the benchmarks share: processes that print JSON, the machine in words, and tables in docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CAFFE_LITE_SHARED") or ROOT.parent / "shared")
WORKER = str(ROOT / "benchmarks" / "worker.py")
PEER = str(SHARED / "bench" / "torch_peer.py")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
END = "<!-- end of results -->"


def run(command: list[str], **environment: str) -> dict[str, Any]:
    """The JSON object that a command prints last."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # every start would compile all sources: users have them compiled
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def machine(threads: int) -> str:
    """Processor, threads and versions, in a line."""
    from importlib.metadata import version

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), processor)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite"))
    return f"{processor}, {threads} threads, {platform.system()}, Python {platform.python_version()}, {versions}"


def when() -> str:
    """The day, and the commit that is measured ("-dirty" if there is more than that, but for the page of results)."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "no commit"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{DOCUMENT.relative_to(ROOT)}")
    return f"{time.strftime('%Y-%m-%d')} at {commit}{'-dirty' if changed else ''}"


def heading(threads: int) -> str:
    """When, at which commit and on what a table was measured."""
    return f"Measured {when()}: {machine(threads)}."


def begin(script: str) -> str:
    """The line of the document behind which a script's results are."""
    return f"<!-- results: written by benchmarks/{script} -->"


def read(script: str) -> str:
    """The results of a script that are in the document."""
    return DOCUMENT.read_text("utf-8").split(begin(script))[1].split(END)[0].strip()


def write(script: str, text: str) -> None:
    """Replace the results of a script in the document."""
    before, rest = DOCUMENT.read_text("utf-8").split(begin(script))
    after = rest.split(END, 1)[1]
    DOCUMENT.write_text(f"{before}{begin(script)}\n{text}\n{END}{after}", "utf-8")
