"""`caffe-lite run`: a script written for pycaffe, as it is."""

from __future__ import annotations

import argparse
import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

from ..errors import ConfigError

AS_CAFFE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "as_caffe")


def add_parser(verbs: Any) -> None:
    """Add the verb. All behind the script belongs to the script (`cli.caffe_spelling` leaves it alone)."""
    parser = verbs.add_parser(
        "run",
        help="run a Python script that imports caffe",
        description="Run a Python script as `python SCRIPT ARGS` would, with `import caffe` (caffe.io and so on) "
        "meaning this package. As with pycaffe, the log goes to standard error, from level $GLOG_minloglevel on.",
        epilog="Example: caffe-lite run plot.py mynet.prototxt",
    )
    parser.add_argument("script", metavar="SCRIPT", help="the script")
    parser.add_argument("arguments", metavar="ARGS", nargs=argparse.REMAINDER, help="what the script finds in sys.argv")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run it; what it raises is shown as Python shows it, and its exit status is ours."""
    from ..caffe_alias import install_as_caffe
    from .caffe_log import write_log

    source = read(args.script)
    install_as_caffe()
    write_log()
    sys.argv = [args.script, *args.arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(args.script))
    sys.path.insert(1, AS_CAFFE)
    module = main_module(os.path.join(os.getcwd(), args.script))
    try:
        exec(compiled(source, module), vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = without_us(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def read(path: str) -> bytes:
    """The script's text."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot open script {path!r}: {error.strerror or error}") from error


def main_module(path: str) -> ModuleType:
    """A fresh `__main__`, as Python makes it for a script."""
    module = sys.modules["__main__"] = ModuleType("__main__")
    vars(module).update(
        __annotations__={},
        __builtins__=builtins,
        __cached__=None,
        __file__=path,
        __loader__=SourceFileLoader("__main__", path),
    )
    return module


def compiled(source: bytes, module: ModuleType) -> CodeType:
    """The script's code; SyntaxError if it is none."""
    return compile(source, str(module.__file__), "exec", dont_inherit=True)


def without_us(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the script's first frame on; a script that does not compile has none."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
