"""`caffe-lite classify`: what it prints and writes is what the Classifier says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from deploy_nets import write_linear
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.cli import main
from pycaffe_lite.formats.mean import write_mean

RNG = np.random.default_rng(0)
NET = ["--model", "linear.prototxt", "--weights", "linear.caffemodel"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, with a net for images 6 x 5, three images, the names of its four classes and a mean."""
    monkeypatch.chdir(tmp_path)
    write_linear(tmp_path, (2, 3, 6, 5))
    os.mkdir("images")
    for name in ("a.png", "b.png", "c.bmp"):
        Image.fromarray(RNG.integers(0, 256, (9, 8, 3), np.uint8)).save(f"images/{name}")
    Path("labels.txt").write_text("tench\ngoldfish\nwhite shark\nhen\n")
    write_mean("mean.npy", RNG.random((3, 6, 5)) * 255)
    return tmp_path


def expected(names, oversample=False, **options):
    made = caffe.Classifier(NET[1], NET[3], **{"raw_scale": 255, "channel_swap": (2, 1, 0), **options})
    return made.predict([caffe.io.load_image(f"images/{name}") for name in names], oversample)


def test_the_likeliest_classes_are_printed(folder, capsys):
    assert main(["classify", *NET, "--labels", "labels.txt", "--top", "2", "images/a.png", "images/b.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = Path("labels.txt").read_text().splitlines()
    wanted = []
    for name, scores in zip(("a.png", "b.png"), expected(["a.png", "b.png"])):
        first, second = np.argsort(-scores)[:2]
        wanted += [
            f"---------- Prediction for images/{name} ----------",
            f'{scores[first]:.4f} - "{names[first]}"',
            f'{scores[second]:.4f} - "{names[second]}"',
        ]
    assert lines == wanted


def test_without_names_numbers_are_printed(folder, capsys):
    assert main(["classify", *NET, "images/a.png"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 4
    assert re.fullmatch(r"-?\d+\.\d{4} - class \d", lines[0])


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([], {}),
        (["--images_dim", "8,9"], {"image_dims": (8, 9), "oversample": True}),
        (["--images_dim=8,9", "--center_only"], {"image_dims": (8, 9)}),
        (["--mean_file", "mean.npy"], {"mean": "mean.npy"}),
        (["--mean", "104,117,123.5"], {"mean": np.array([104, 117, 123.5])}),
        (["--raw-scale", "1", "--input-scale", "0.5"], {"raw_scale": 1, "input_scale": 0.5}),
        (["--channel-swap", "0,1,2"], {"channel_swap": (0, 1, 2)}),
    ],
)
def test_outputs_are_written(folder, flags, options, capsys):
    before = set(os.listdir())
    flags = [
        "--model_def" if f == "--model" else "--pretrained_model" if f == "--weights" else f for f in [*NET, *flags]
    ]
    assert main(["classify", "images", *flags, "out.npy"]) == 0
    np.testing.assert_allclose(np.load("out.npy"), expected(["a.png", "b.png", "c.bmp"], **options), rtol=1e-5)
    assert set(os.listdir()) == before | {"out.npy"}
    assert capsys.readouterr().out == "out.npy: outputs for 3 images, (4,) for each\n"


def test_a_mean_image_of_another_size_is_averaged(folder, capsys):
    mean = RNG.random((3, 20, 20)) * 255
    write_mean("large.binaryproto", mean)
    assert main(["classify", *NET, "--mean", "large.binaryproto", "images", "out.npy", "--ext", "png"]) == 0
    wanted = expected(["a.png", "b.png"], mean=mean.astype(np.float32).mean((1, 2)))
    np.testing.assert_allclose(np.load("out.npy"), wanted, rtol=1e-5, atol=1e-5)


def test_arrays_and_more_images_than_are_held_at_once(folder, capsys):
    images = RNG.random((40, 7, 7, 3)).astype(np.float32)
    np.save("images.npy", images)
    assert main(["classify", *NET, "images.npy", "out.npy"]) == 0
    classifier = caffe.Classifier(NET[1], NET[3], raw_scale=255, channel_swap=(2, 1, 0))
    np.testing.assert_allclose(np.load("out.npy"), classifier.predict(list(images), False), rtol=1e-5, atol=1e-6)
    assert main(["classify", *NET, "images.npy"]) == 0
    assert "Prediction for images.npy[39] ---" in capsys.readouterr().out


def test_a_net_for_grey_images(folder, capsys):
    write_linear(folder, (1, 1, 6, 5))
    assert main(["classify", *NET, "images/a.png", "out.npy"]) == 0
    classifier = caffe.Classifier(NET[1], NET[3], raw_scale=255)
    wanted = classifier.predict([caffe.io.load_image("images/a.png", color=False)], False)
    np.testing.assert_allclose(np.load("out.npy"), wanted, rtol=1e-5)


REFUSED = {
    "no image": (["images/gone.jpg"], "images/gone.jpg: cannot be read: No such file"),
    "empty folder": (["images", "--ext", "gif"], r"images: there are no images in this folder \(.gif\)"),
    "no labels": (["--labels", "gone.txt", "images/a.png"], "gone.txt: cannot be read"),
    "labels": (["--labels", "short.txt", "images/a.png"], "short.txt: names 2 classes, but 'score' of the net has 4"),
    "top": (["--top", "0", "images/a.png"], "--top: must be at least 1, got 0"),
    "size": (["--images-dim", "a,b", "images/a.png"], "--images-dim: must be numbers with commas between, got 'a,b'"),
    "small": (["--images-dim", "4,4", "images/a.png"], r"image_dims: must be at least the \(6, 5\)"),
    "swap": (["--channel-swap", "3,2,1", "images/a.png"], "channel swap: must be 3 numbers from 0 to 2"),
    "mean": (["--mean", "gone.npy", "images/a.png"], "gone.npy: no such mean file"),
    "values": (["--mean", "1,2", "images/a.png"], "mean: must be one number for each of 3 channels"),
    "array": (["mean.npy"], r"mean.npy: images have shape \(N, height, width, channels\), this has \(3, 6, 5\)"),
    "no array": (["text.npy"], "text.npy: not an .npy file of numbers"),
    "nowhere to write": (["images/a.png", "nowhere/out.npy"], "nowhere/out.npy: cannot be written"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_one_clear_line(folder, capsys, name):
    Path("short.txt").write_text("a\nb\n")
    Path("text.npy").write_text("text")
    arguments, message = REFUSED[name]
    before = set(os.listdir())
    assert main(["classify", *NET, *arguments]) == 1
    err = capsys.readouterr().err
    assert re.search(f"^caffe-lite classify: error: .*{message}", err, re.M), err
    assert "Traceback" not in err
    assert set(os.listdir()) == before


def test_a_dog_is_a_dog(shared, capsys):
    folder = shared / "models" / "cifar10_quick_simshang"
    net = ["--model", f"{folder}/cifar10_quick.prototxt", "--weights", f"{folder}/cifar10_quick_iter_5000.caffemodel"]
    assert main(["classify", *net, "--mean", f"{folder}/mean.binaryproto", f"{folder}/dog4.png"]) == 0
    assert re.search(r"\n(0|1)\.\d{4} - class 5\n", capsys.readouterr().out)
