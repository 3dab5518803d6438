"""docs/images.md runs as it stands: its commands and its script, one after the other, in a folder with images."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from pycaffe_lite.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "images.md"
BODY = """
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
TRAIN = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { mean_file: "mean.binaryproto" }
        data_param { source: "pets_lmdb" batch_size: 10 backend: LMDB } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""


def around(body: str, ends: str) -> str:
    """A net of its first layer, a body and its last layer."""
    first, last = re.findall(r"^layer \{.*?\}(?=\n(?:layer|\Z))", ends, re.S | re.M)
    return first + body + last


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        Path("pets", name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 120, (40, 30, 3))
            pixels[20 * label : 20 * label + 20] += 100  # light above, or below
            Image.fromarray(pixels.astype(np.uint8)).save(f"pets/{name}/{number}.png")
    Path("train.prototxt").write_text(around(BODY, TRAIN))
    Path("deploy.prototxt").write_text(around(BODY, DEPLOY))
    Path("solver.prototxt").write_text(
        'train_net: "train.prototxt" base_lr: 0.000001 lr_policy: "fixed" max_iter: 50 snapshot_prefix: "model" '
        "solver_mode: CPU random_seed: 1"
    )
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "caffe-lite"
        assert main(arguments) == 0, line
    answers = re.findall(r"Prediction for (pets/cat/\d.png) -+\n(.*) - \"(\w+)\"", capsys.readouterr().out)
    assert len(answers) == 10
    assert {name for _, _, name in answers} == {"cat"}

    (script,) = blocks("python")
    exec(compile(script, "images.md", "exec"), {})
    probabilities = [float(word) for word in re.findall(r"\d[\d.e+-]*", capsys.readouterr().out)]
    assert probabilities[0] > 0.5 > probabilities[1]
    np.testing.assert_allclose(probabilities[0], float(answers[0][1]), atol=1e-3)
