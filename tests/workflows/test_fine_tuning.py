"""Fine-tuning, as pycaffe's tutorial teaches it: weights by layer name, a new last layer, layers that stand still."""

from __future__ import annotations

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.errors import WeightsError

CLASSES = 4
NOISE = 0.3


def net_text(last: str, outputs: int, frozen: bool) -> str:
    """Stripes in, classes out; `last` is the name of the last layer, and `frozen` stops all others."""
    learn = " param { lr_mult: 0 } param { lr_mult: 0 }" if frozen else " param { lr_mult: 1 } param { lr_mult: 2 }"
    return f"""
    name: "stripes"
    layer {{ name: "data" type: "Input" top: "data" top: "label"
            input_param {{ shape {{ dim: 32 dim: 1 dim: 8 dim: 8 }} shape {{ dim: 32 }} }} }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" {learn}
            convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
    layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param {{ kernel_size: 2 stride: 2 }} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" {learn}
            inner_product_param {{ num_output: 12 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "relu_fc" type: "ReLU" bottom: "fc" top: "fc" }}
    layer {{ name: "{last}" type: "InnerProduct" bottom: "fc" top: "score"
            param {{ lr_mult: 10 }} param {{ lr_mult: 20 }}
            inner_product_param {{ num_output: {outputs} weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }}
    layer {{ name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" }}
    """


def solver(folder, last: str, outputs: int, frozen: bool = False) -> caffe.Solver:
    (folder / f"{last}.prototxt").write_text(net_text(last, outputs, frozen))
    path = folder / f"{last}_solver.prototxt"
    path.write_text(
        f'net: "{folder / last}.prototxt" base_lr: 0.005 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 '
        f'random_seed: 2 snapshot_prefix: "{folder / last}"'
    )
    return caffe.get_solver(str(path))


def stripes(rng: np.random.Generator, directions: int) -> tuple[np.ndarray, np.ndarray]:
    """32 noisy images of stripes; the label is their direction."""
    labels = rng.integers(0, directions, 32)
    y, x = np.mgrid[:8, :8]
    angle = labels[:, None, None] * np.pi / directions
    waves = np.sin(1.5 * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 6.3, (32, 1, 1)))
    return (waves + NOISE * rng.normal(size=waves.shape))[:, None].astype(np.float32), labels


def train(made: caffe.Solver, steps: int, directions: int, seed: int) -> float:
    """Some steps, each on new images; returns the mean loss of the last ten."""
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(steps):
        data, labels = stripes(rng, directions)
        made.net.blobs["data"].data[...] = data
        made.net.blobs["label"].data[...] = labels
        losses.append(made.step(1))
    return float(np.mean(losses[-10:]))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A net that tells four directions, trained, on disk."""
    folder = tmp_path_factory.mktemp("pretrained")
    made = solver(folder, "score_4", CLASSES)
    assert train(made, 150, CLASSES, seed=1) < 0.4, "it has learnt something"
    path = folder / "pretrained.caffemodel"
    made.net.save(str(path))
    return path


def test_weights_go_to_layers_of_their_names_and_the_new_layer_starts_afresh(pretrained, tmp_path):
    made = solver(tmp_path, "score_2", 2)
    first = made.net.params["score_2"][0].data.copy()
    report = made.net.copy_from(str(pretrained))
    old = caffe.Net(str(pretrained.parent / "score_4.prototxt"), caffe.TEST, weights=str(pretrained))
    for name in ("conv", "fc"):
        for mine, theirs in zip(made.net.params[name], old.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)
    np.testing.assert_array_equal(made.net.params["score_2"][0].data, first)
    assert sorted(report.loaded) == ["conv", "fc"]
    assert list(report.missing) == ["score_2"], "the report says which layers keep their first values"
    assert "score_4" in report.skipped


def test_it_learns_faster_than_from_nothing(pretrained, tmp_path):
    tuned, fresh = solver(tmp_path, "tuned", 2), solver(tmp_path, "fresh", 2)
    tuned.net.copy_from(str(pretrained))
    steps = 25
    assert train(tuned, steps, 2, seed=5) < 0.7 * train(fresh, steps, 2, seed=5)


def test_layers_with_lr_mult_0_stand_still(pretrained, tmp_path):
    made = solver(tmp_path, "head", 2, frozen=True)
    made.net.copy_from(str(pretrained))
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in made.net.params.items()}
    start = train(made, 10, 2, seed=3)
    end = train(made, 60, 2, seed=4)
    for name in ("conv", "fc"):  # not even weight decay touches them
        for blob, old in zip(made.net.params[name], before[name], strict=True):
            np.testing.assert_array_equal(blob.data, old)
    assert (made.net.params["head"][0].data != before["head"][0]).all()
    assert end < 0.8 * start


def test_a_last_layer_of_the_same_name_does_not_fit(pretrained, tmp_path):
    made = solver(tmp_path, "score_4", 2)
    with pytest.raises(WeightsError, match=r"layer 'score_4' .*\(4, 12\).*\(2, 12\)"):
        made.net.copy_from(str(pretrained))
    report = made.net.copy_from(str(pretrained), ignore_mismatch=True)
    assert sorted(report.loaded) == ["conv", "fc"]


def test_tuned_saved_and_used(pretrained, tmp_path):
    made = solver(tmp_path, "used", 2)
    made.net.copy_from(str(pretrained))
    train(made, 60, 2, seed=5)
    made.snapshot()
    (tmp_path / "deploy.prototxt").write_text("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 32 dim: 1 dim: 8 dim: 8 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                convolution_param { num_output: 6 kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
                pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 12 } }
        layer { name: "relu_fc" type: "ReLU" bottom: "fc" top: "fc" }
        layer { name: "used" type: "InnerProduct" bottom: "fc" top: "score" inner_product_param { num_output: 2 } }
        layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }""")
    net = caffe.Net(str(tmp_path / "deploy.prototxt"), caffe.TEST, weights=str(tmp_path / "used_iter_60.caffemodel"))
    data, labels = stripes(np.random.default_rng(9), 2)
    answers = net.forward(data=data)["prob"].argmax(1)
    assert (answers == labels).mean() > 0.9
