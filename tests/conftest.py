"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pycaffe_lite import device as devices
from pycaffe_lite import random
from pycaffe_lite.errors import DeviceError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the repository; the test skips where there is none."""
    path = Path(os.environ.get("CAFFE_LITE_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"no reference material at {path} (set CAFFE_LITE_SHARED to its folder)")
    return path


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a command run inside a test does to the package's logger ends with the test."""
    log = logging.getLogger("pycaffe_lite")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@cache
def device_named(name: str) -> Any:
    """The device "cpu", "emulated" (CUDA sources through g++) or "gpu"; a sentence where there is none."""
    if name == "cpu":
        return devices.CPU
    if name == "gpu":
        try:
            return devices.gpu()
        except DeviceError as error:
            return str(error)
    import emulator

    return emulator.EmulatedGpu() if emulator.COMPILER else "no g++, which the emulated GPU compiles with"


@pytest.fixture(params=["cpu", "emulated", "gpu"])
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each device in turn: nets that the test makes live on it. Skips where the device is not there."""
    found = device_named(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    with devices.using(found):
        yield found


@pytest.fixture(autouse=True)
def own_seed() -> None:
    """Every test begins with the same random numbers, whatever ran in front of it."""
    random.set_random_seed(1)
