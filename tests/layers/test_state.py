"""What a layer remembers is all there is to remember: another one that is given it goes on the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import CASES
from exam import Case, build

from pycaffe_lite import random
from pycaffe_lite.errors import CaffeError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, text
from pycaffe_lite.solver import resume

ALL = [
    pytest.param(case, id=f"{kind}-{i}")
    for kind, cases in CASES.items()
    for i, case in enumerate(cases)
    if kind != "HDF5Output"  # two nets cannot write one file
]


def tops(net: Net, case: Case) -> list[np.ndarray]:
    net.run_forward()
    return [net.blobs[f"y{i}"].data.copy() for i in range(case.tops)]


@pytest.mark.parametrize("case", ALL)
def test_another_layer_goes_on_where_this_one_is(case, monkeypatch):
    first = build(case)
    for _ in range(2):
        first.run_forward()
    kept = json.loads(json.dumps(resume.of_net(first), default=resume._encode), object_hook=resume._decode)

    set_random_seed = random.set_random_seed
    monkeypatch.setattr(random, "set_random_seed", lambda seed: set_random_seed(seed + 1))
    second = build(case)
    tops(second, case)  # its launches are recorded, and it is somewhere else
    for mine, theirs in zip(second.layer_dict["l"].blobs, first.layer_dict["l"].blobs):
        mine.data[...] = theirs.data
    resume.restore_net(second, kept)
    for _ in range(2):
        for got, wanted in zip(tops(second, case), tops(first, case), strict=True):
            np.testing.assert_array_equal(got, wanted)


COUNTER = """
import pycaffe_lite as caffe

class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.count = int(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.count += 1
        top[0].data[0] = self.count

    def state_dict(self):
        return {"count": self.count} if self.count < 100 else {"count": self}

    def restore(self, state):
        self.count = state["count"]
"""


def counter(start: int) -> Net:
    fields = f'module: "counting_layers" layer: "Counter" param_str: "{start}"'
    net = f'layer {{ name: "l" type: "Python" top: "y0" python_param {{ {fields} }} }}'
    return Net.from_proto(text.parse(net, NetParameter()))


def test_a_layer_of_the_users_own_may_remember_too(tmp_path, monkeypatch):
    (tmp_path / "counting_layers.py").write_text(COUNTER)
    monkeypatch.syspath_prepend(tmp_path)
    first, second = counter(3), counter(50)
    first.run_forward()
    resume.restore_net(second, resume.of_net(first))
    second.run_forward()
    assert second.blobs["y0"].data == 5
    with pytest.raises(CaffeError, match=r"cannot be kept in a snapshot: <counting_layers\.Counter"):
        json.dumps(resume.of_net(counter(100)), default=resume._encode)


def test_random_layers_differ_where_nothing_is_handed_over(monkeypatch):
    """Else the test above would prove nothing."""
    case = CASES["Dropout"][0]
    first = build(case)
    set_random_seed = random.set_random_seed
    monkeypatch.setattr(random, "set_random_seed", lambda seed: set_random_seed(seed + 1))
    assert not np.array_equal(tops(first, case)[0], tops(build(case), case)[0])
