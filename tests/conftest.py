"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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
