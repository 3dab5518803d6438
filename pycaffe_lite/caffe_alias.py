"""`import caffe` means this package: scripts and Python layers written for pycaffe run as they are."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ALIAS, PACKAGE = "caffe", __package__
INNER = (
    f"{ALIAS}.pycaffe",
    f"{ALIAS}._caffe",
)  # where pycaffe keeps what `import caffe` shows: here, the package itself


class _Alias(MetaPathFinder, Loader):
    """Finds caffe and caffe.anything as pycaffe_lite and pycaffe_lite.anything: one module under two names."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != ALIAS and not name.startswith(f"{ALIAS}."):
            return None
        real = PACKAGE if name in INNER else PACKAGE + name[len(ALIAS) :]
        return ModuleSpec(name, self, origin=real) if importlib.util.find_spec(real) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        assert spec.origin
        module = importlib.import_module(spec.origin)
        spec.loader_state = module.__spec__  # importing under another name replaces it
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__
        module.__spec__ = module.__spec__.loader_state


_alias = _Alias()


def install_as_caffe() -> None:
    """Let `import caffe` (and caffe.io, caffe.proto ...) in this process mean this package."""
    if _alias not in sys.meta_path:
        sys.meta_path.insert(0, _alias)
        for name in [n for n in sys.modules if n == ALIAS or n.startswith(f"{ALIAS}.")]:
            del sys.modules[name]


def install_unless_caffe_is_there() -> None:
    """The same, but where Caffe itself is installed it keeps its name."""
    if _alias not in sys.meta_path and ALIAS not in sys.modules and importlib.util.find_spec(ALIAS) is None:
        install_as_caffe()
