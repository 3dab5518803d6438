"""The package as a whole: what importing it costs, how it is started, and the shape of its files."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pycaffe_lite import __version__

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another Python process, with this checkout on its path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)


IMPORTS = [
    "import pycaffe_lite",
    "from pycaffe_lite import *",
    "from pycaffe_lite import Net, SGDSolver, get_solver; from pycaffe_lite.proto import caffe_pb2",
    "import pycaffe_lite; pycaffe_lite.layer_type_list()",
    "from pycaffe_lite import NetSpec, layers as L, params as P; L.Deconvolution(num_output=P.Pooling.AVE).to_proto()",
]


@pytest.mark.parametrize("statement", IMPORTS)
def test_importing_compiles_nothing(statement, tmp_path):
    cache = tmp_path / "cache"
    shown = "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = python("-c", f"{statement}\n{shown}", CAFFE_LITE_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "pycaffe_lite" in loaded
    assert "numba" not in loaded
    assert not cache.exists(), f"written at import: {list(cache.iterdir())}"


def test_the_bare_import_loads_no_module_but_its_own():
    shown = "import pycaffe_lite, sys; print(*[m for m in sys.modules if m.startswith('pycaffe_lite.')])"
    done = python("-c", shown)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_python_m_is_the_command_line():
    done = python("-m", "pycaffe_lite", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"caffe-lite {__version__}")
    wrong = python("-m", "pycaffe_lite", "trian")
    assert wrong.returncode == 2
    assert "trian" in wrong.stderr


def test_every_public_name_is_there():
    import pycaffe_lite

    for name in pycaffe_lite.__all__:
        assert getattr(pycaffe_lite, name) is not None, name
    with pytest.raises(AttributeError, match="no_such_name"):
        pycaffe_lite.no_such_name  # noqa: B018


def tracked(*suffixes: str) -> list[Path]:
    """Files that git knows, relative to the root, with one of these endings (or any)."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so nobody knows which files belong to the project")
    found = [Path(name) for name in listed.stdout.split("\0") if name.endswith(suffixes or ("",))]
    return [path for path in found if (ROOT / path).is_file()]


LONG = re.compile(r"# long: \w+")  # the comment that excuses a long file (at its top) or function (inside)


def test_files_and_functions_are_small():
    long = []
    for path in tracked(".py"):
        lines = (ROOT / path).read_text("utf-8").splitlines()
        if len(lines) > 400 and not LONG.search("\n".join(lines[:20])):
            long.append(f"{path}: {len(lines)} lines, more than 400")
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = lines[node.lineno - 1 : node.end_lineno]
                if len(body) > 60 and not LONG.search("\n".join(body)):
                    long.append(f"{path}:{node.lineno}: {node.name} has {len(body)} lines, more than 60")
    assert not long, "split these, or say why not in a comment `# long: because ...`:\n" + "\n".join(long)


def test_no_file_names_a_place_on_one_machine():
    places = re.compile(rb"/(?:work|root|farm|home/\w+|tmp/\w+)/")
    found = [path for path in tracked() if places.search((ROOT / path).read_bytes())]
    assert not found, f"paths of one machine in {', '.join(map(str, found))}"
