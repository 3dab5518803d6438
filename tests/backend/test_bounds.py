"""Nothing beyond the arrays is touched: every array ends, or begins, at a page that kills who reads it."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_kept: list[Any] = []


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of an array, between two pages that nobody may touch."""
    page = mmap.PAGESIZE
    pages = -(-array.nbytes // page)
    room = mmap.mmap(-1, (pages + 2) * page)
    _kept.append(room)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for address in (start, start + (pages + 1) * page):
        assert protect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0) == 0, os.strerror(ctypes.get_errno())
    place = page + (pages * page - array.nbytes if at_end else 0)
    copy = np.frombuffer(room, array.dtype, array.size, place).reshape(array.shape)
    copy[:] = array
    return copy


def run_all() -> None:
    """Every kernel on guarded arrays; a fault ends the process."""
    for at_end in (True, False):
        run_products(at_end)
        run_others(at_end)
    print("all inside")


def run_products(at_end: bool) -> None:
    """Convolutions and products of matrices."""
    from convolution_cases import TABLE, blobs
    from test_gemm import SHAPES
    from test_winners import TABLE as WINNERS
    from test_winners import case

    from pycaffe_lite.backend.cpu.convolution import Convolution
    from pycaffe_lite.backend.cpu.gemm import gemm
    from pycaffe_lite.backend.cpu.reduce import add_rows
    from pycaffe_lite.backend.cpu.winners_data import data_grad
    from pycaffe_lite.backend.cpu.winners_weights import weights_grad

    for shape in TABLE:
        of = Convolution(*shape)
        has = {name: guarded(array, at_end) for name, array in blobs(of, np.float32).items()}
        of.forward(has["x"], has["w"], has["b"], has["y"])
        of.backward_data(has["dy"], has["w"], has["dx"])
        of.backward_weights(has["x"], has["dy"], has["w"])
        of.backward_bias(has["dy"], has["b"])
    for m, n, k in SHAPES:
        for ta, tb in ((False, False), (False, True), (True, False), (True, True)):
            sizes = (k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n), (n,)
            a, b, c, bias = (guarded(np.ones(size, np.float32), at_end) for size in sizes)
            gemm(ta, tb, m, n, k, a, a.shape[1], b, b.shape[1], c, n, bias=bias)
            add_rows(c, bias)
    for shape in WINNERS:
        of, winners, has, _ = case(shape, 0.1, lambda array: guarded(array, at_end))
        weights_grad(of.plane, has["x"], winners, has["w"], has["b"], True)
        data_grad(of.plane, winners, has["w"], has["dx"])


def run_others(at_end: bool) -> None:
    """Layers of channels, planes and elements."""
    from test_channels import SHAPES as VIEWS
    from test_elements import COUNTS
    from test_lrn import TABLE as NORMS
    from test_pooling import TABLE as POOLS
    from test_pooling import window_of

    from pycaffe_lite.layers._channels import affine_channels_grad, see
    from pycaffe_lite.layers._normalize import measure, norm_grad, normalize, sum_norm_grad
    from pycaffe_lite.layers._pooling import average_pool, max_pool
    from pycaffe_lite.layers._standardize import standardize, standardize_grad
    from pycaffe_lite.layers.dropout import drop
    from pycaffe_lite.layers.lrn import Box, normalize_locally, normalize_locally_grad

    for pool in POOLS:
        window, x = window_of(*pool), guarded(np.ones(pool[0], np.float32), at_end)
        size = window.planes, window.oh, window.ow
        y, argmax = (guarded(np.ones(size, kind), at_end) for kind in (x.dtype, np.int32))
        max_pool(x, *window, y, argmax)
        average_pool(x, *window, y)
    for count in COUNTS:
        x, y = (guarded(np.ones(count, np.float32), at_end) for _ in range(2))
        drop(x, np.ones(1, np.int64), np.ones(1, np.int64), 1 << 30, 2, count, y)
    for size, local_size, _ in NORMS:
        box = Box(*size[:2], 1, size[2], (local_size - 1) // 2, 0)
        x, y, norm, dy, dx = (guarded(np.ones(size, np.float32), at_end) for _ in range(5))
        normalize_locally(x, 1, 1, 0.75, *box, y, norm)
        normalize_locally_grad(x, y, norm, dy, 1, 0.75, *box, dx)
    for shape in VIEWS:
        view, sums = see(shape, 1, 2), np.ones(shape[1])
        x, y, dy, dx = (guarded(np.ones(shape, np.float32), at_end) for _ in range(4))
        a, b, c = (guarded(np.ones(shape[1], np.float32), at_end) for _ in range(3))
        standardize(x, 1, 0, True, *view, y, sums, a, b, c)
        standardize_grad(y, dy, c, True, *view, dx, sums, sums)
        affine_channels_grad(x, dy, a, True, *view, dx, b, c)
        measure(x, 1, *view, sums, a, b, c)
        normalize(x, a, b, c, a, 1, None, 0, *view, y, dx)
        sum_norm_grad(y, dy, a, b, 1, *view, sums, sums, b, c)
        norm_grad(y, dy, a, b, 1, c, sums, sums, 1, *view, dx)


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_nothing_beyond_the_arrays_is_touched() -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")])
    program = "import faulthandler, test_bounds; faulthandler.enable(); test_bounds.run_all()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=dict(os.environ, PYTHONPATH=paths), capture_output=True, text=True
    )
    assert done.returncode == 0 and "all inside" in done.stdout, done.stderr[-3000:]
