"""The parts of the benchmarks that need no clock: nets that are whole, and tables that are mended row by row."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pycaffe_lite.net import offline
from pycaffe_lite.net.cost import cost
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import measure
import nets
import zoo

# Millions of multiply-adds an image: of the papers (SqueezeNet 1.1, MobileNet v1), and counted by hand.
MILLIONS = {"cifar10_quick": 12.3, "mobilenet": 569, "squeezenet": 388}


@pytest.mark.parametrize("name", MILLIONS)
def test_nets_of_the_zoo_cost_what_they_should(name: str) -> None:
    param = text.parse(zoo.NETS[name](2), NetParameter())
    graph = offline.graph_of(offline.in_state(param, caffe_pb2.TRAIN))
    found = sum(cost(node).multiply_adds for node in graph.nodes) / 2 / 1e6
    assert found == pytest.approx(MILLIONS[name], rel=0.03)


def test_rows_measured_anew_replace_theirs_and_leave_the_others() -> None:
    old = ["| lenet | 64 | train | 5 |", "| googlenet | 8 | train | 500 |"]
    text_before = nets.table(old, 2)
    new = ["| googlenet | 8 | train | 300 |", "| lenet | 1 | infer | 0.1 |"]
    assert nets.merged(new, text_before) == [old[0], new[1], new[0]]


def test_the_document_has_a_place_for_every_script() -> None:
    for script in ("lenet.py", "nets.py", "startup.py", "kernels.py"):
        measure.read(script)
