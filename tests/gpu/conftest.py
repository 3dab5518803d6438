"""A machine with a GPU, as far as caffe-lite can tell."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from emulator import COMPILER, EmulatedGpu
from fake_nvidia import FakeCublas, FakeCudnn, FakeCuPy

from pycaffe_lite import device
from pycaffe_lite.backend.gpu import libraries


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Pretend that CuPy and a GPU are there; returns NVIDIA's libraries by name, which a test may take away."""
    if not COMPILER:
        pytest.skip("no g++, which the emulated GPU compiles with")
    emulated = EmulatedGpu()
    found: dict[str, Any] = {"cublas": FakeCublas(emulated), "cudnn": FakeCudnn(emulated)}
    monkeypatch.setitem(sys.modules, "cupy", FakeCuPy(emulated))
    monkeypatch.setattr(libraries, "find", lambda name, major: (found[name], name) if found.get(name) else None)
    monkeypatch.setattr(device, "_gpus", {})
    monkeypatch.setattr(device, "_gpu_options", {})
    return found
