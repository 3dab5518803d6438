"""Nets in threads: two at once are as right as one after the other; one net has one user at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite import ops
from pycaffe_lite.backend.cpu import pool
from pycaffe_lite.backend.cpu.program import Program
from pycaffe_lite.errors import CaffeError
from pycaffe_lite.kernel import recording
from pycaffe_lite.proto import SolverParameter, text

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 12


def source(outputs: int, size: int) -> str:
    """A net whose layers all need workspaces, each time of another size."""
    return f"""
    name: "net{outputs}"
    layer {{ name: "in" type: "Input" top: "data" top: "label"
            input_param {{ shape {{ dim: 6 dim: 3 dim: {size} dim: {size} }} shape {{ dim: 6 }} }} }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param {{ num_output: {outputs} kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
    layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
            pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
    layer {{ name: "lrn" type: "LRN" bottom: "pool" top: "lrn" }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "lrn" top: "ip"
            inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
    """


def work(outputs: int, size: int, rounds: int = ROUNDS) -> list[np.ndarray]:
    """Train a little; returns all losses, and the weights. Everything is made here, in the calling thread."""
    message = f'net_param {{ {source(outputs, size)} }} base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 99'
    solver = caffe.get_solver(text.parse(message, SolverParameter()))
    rng = np.random.default_rng(outputs)
    for blobs in solver.net.params.values():  # not from the fillers: threads take those streams in any order
        blobs[0].data[...] = 0.1 * rng.standard_normal(blobs[0].shape)
    losses = []
    for _ in range(rounds):
        solver.net.blobs["data"].data[...] = rng.standard_normal((6, 3, size, size))
        solver.net.blobs["label"].data[...] = rng.integers(10, size=6)
        losses.append(solver.step(1))
    return [np.array(losses), *(blob.data.copy() for blobs in solver.net.params.values() for blob in blobs)]


SIZES = [(5, 9), (24, 24), (64, 12), (17, 31)]


def test_nets_in_threads_compute_what_they_do_alone():
    alone = [work(*size) for size in SIZES]
    with ThreadPoolExecutor(len(SIZES)) as threads:
        together = list(threads.map(lambda size: work(*size), SIZES))
    for mine, theirs in zip(alone, together):
        for first, second in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("cache", ["warm", pytest.param("cold", marks=pytest.mark.slow)])
def test_threads_that_come_first_make_one_pool(tmp_path, cache):
    """In a new process: everything that is made once is made while others ask for it, too."""
    code = """
import sys, threading
sys.path[:0] = sys.argv[1:]
from test_threads import ThreadPoolExecutor, np, work
from pycaffe_lite.backend.cpu import pool
made, make = [], pool.Pool
pool.Pool = lambda count: made.append(count) or make(count)
start = threading.Barrier(4)
def one(_):
    start.wait()
    return work(5, 9, 3)
with ThreadPoolExecutor(4) as threads:
    results = list(threads.map(one, range(4)))
for other in results[1:]:
    for first, second in zip(results[0], other):
        np.testing.assert_array_equal(first, second)
print("pools", len(made))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CAFFE_LITE_THREADS": "2"}
    if cache == "cold":
        env["CAFFE_LITE_CACHE"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "pools 1"


def test_the_number_of_threads_may_change_while_nets_run():
    alone, before = work(24, 24), pool.threads()
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(work, 24, 24) for _ in range(4)]
        try:
            while not all(run.done() for run in running):
                for count in (1, 3, 2):
                    pool.set_threads(count)
                    time.sleep(0.005)
        finally:
            pool.set_threads(before)
    for run in running:
        for mine, theirs in zip(alone, run.result(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_threads_that_the_system_does_not_start_are_done_without(monkeypatch, caplog):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    program, y = Program(), np.zeros(100_000, np.float32)
    with recording(program):
        ops.fill(3, y.size, y)
    table = program.compile()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    alone = pool.Pool(4)
    alone.run(table.ctypes.data, 0, len(table))
    alone.close()
    assert (y == 3).all()
    assert "4 threads wanted, but the system starts no more than 1" in caplog.text


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(call, i) for i in range(count)]]


def test_a_net_that_several_threads_use_computes_for_each_what_it_asked():
    net = caffe.Net.from_prototxt(source(8, 12))
    label = np.zeros(6)
    inputs = [np.random.default_rng(i).standard_normal((6, 3, 12, 12)) for i in range(4)]
    wanted = [net.forward(data=x, label=label, blobs=["ip"])["ip"].copy() for x in inputs]

    def ask(i: int) -> None:
        for _ in range(30):
            with net.lock:
                got = net.forward(data=inputs[i], label=label, blobs=["ip"])["ip"].copy()
            np.testing.assert_array_equal(got, wanted[i])

    in_threads(4, ask)


def test_a_run_waits_for_the_thread_that_holds_the_net():
    net = caffe.Net.from_prototxt(source(8, 12))
    ran = threading.Event()
    other = threading.Thread(target=lambda: (net.forward(), ran.set()))
    with net.lock:
        other.start()
        assert not ran.wait(0.2)
        net.forward()  # its holder goes on
    assert ran.wait(20)
    other.join()


def test_a_solver_trains_in_one_thread_at_a_time():
    message = f'net_param {{ {source(5, 9)} }} base_lr: 0.01 lr_policy: "fixed" max_iter: 99'
    solver = caffe.get_solver(text.parse(message, SolverParameter()))
    inside, go_on = threading.Event(), threading.Event()
    solver.add_callback(lambda: (inside.set(), go_on.wait(20)), lambda: None)
    first = threading.Thread(target=solver.step, args=(1,))
    first.start()
    try:
        assert inside.wait(20)
        with pytest.raises(CaffeError, match="the solver of net 'net5' is training in another thread"):
            solver.step(1)
    finally:
        go_on.set()
        first.join()
    assert solver.iter == 1
    solver.step(2)
    assert solver.iter == 3
