"""Every rule on a net or solver that breaks it, and on one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import ACCURACY, BROKEN, GOOD, INPUT, LOSS, ip, layer, write

from pycaffe_lite.lint.rules import LEVELS, all_rules
from pycaffe_lite.lint.run import Linter, Options


def lint(folder, case):
    path, options = write(folder, case)
    linter = Linter(Options(**{"shapes": [], **options}))
    return linter.lint(str(path)), linter.notes


def test_every_rule_has_an_example():
    assert {name for name, *_ in BROKEN} == set(all_rules())


@pytest.mark.parametrize("rule, case, level, place, text", BROKEN, ids=[f"{c[0]}-{i}" for i, c in enumerate(BROKEN)])
def test_what_is_broken_is_found(tmp_path, rule, case, level, place, text):
    findings, _ = lint(tmp_path, case)
    found = [finding for finding in findings if finding.rule == rule]
    assert len(found) == 1, [finding.rule for finding in findings]
    assert found[0].level == level
    assert text in found[0].what
    if place is not None:
        path, line, column = found[0].where.rsplit(":", 2)
        assert int(line) == place[0]
        assert Path(path).read_text().splitlines()[int(line) - 1][int(column) - 1 :].startswith(place[1])
    assert found[0].why and found[0].fix
    others = {finding.rule for finding in findings} - {rule} - set(case.get("also", ()))
    assert not others


@pytest.mark.parametrize("case", GOOD, ids=list(GOOD))
def test_what_is_good_is_left_alone(tmp_path, case):
    findings, _ = lint(tmp_path, GOOD[case])
    assert findings == []


def test_findings_come_the_worst_first_and_once(tmp_path):
    net = INPUT + layer("Pooling", "x", "p", "pooling_param { kernel_size: 1 stride: 5 }")
    net += ip("p", outer="pooling_param { stride: 2 }") + LOSS + ACCURACY
    findings, _ = lint(tmp_path, {"net": net})
    assert [(f.level, f.rule, f.phases) for f in findings] == [
        ("warning", "ignored-block", ["TRAIN", "TEST"]),
        ("warning", "window-outside", ["TRAIN", "TEST"]),
    ]
    assert sorted(LEVELS) == ["error", "hint", "warning"]


def test_nets_of_the_bench_raise_no_warnings(shared):
    for path in sorted((shared / "bench" / "nets").iterdir()):
        assert {finding.level for finding in Linter(Options([])).lint(str(path))} <= {"hint"}


def test_nets_that_caffe_builds_raise_no_errors(shared):
    """What warnings there are on the corpus was looked at one by one: two nets test by the batch's statistics, one
    net has a block that its layer does not read."""
    warned = {}
    for path in (shared / "corpus" / "build").rglob("*"):
        if path.is_file():
            for finding in Linter(Options([])).lint(str(path)):
                assert finding.level != "error", finding
                if finding.level == "warning":
                    warned.setdefault(finding.rule, set()).add(path.name)
    assert warned == {
        "batch-statistics-in-testing": {"resnet_50_deploy.prototxt", "layer_batch_norm_local_stats.prototxt"},
        "ignored-block": {"general_constrastive_layer.prototxt"},
    }
