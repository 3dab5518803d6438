"""Every layer type sits the exam."""

from __future__ import annotations

import pytest
from cases import CASES
from exam import check_layer

from pycaffe_lite import layers

ALL = [pytest.param(case, id=f"{kind}-{i}") for kind, cases in CASES.items() for i, case in enumerate(cases)]


@pytest.mark.parametrize("case", ALL)
def test_layer_passes_the_exam(case, device):
    check_layer(case)


def test_no_type_is_missing_from_the_table():
    assert set(layers.known()) - set(CASES) == set()
