"""Classification, as pycaffe's tutorial teaches it, and from image files to answers by every way there is.

What a Data layer makes of a database, an ImageData layer of a list, and a Transformer of an image file, are the same
numbers, so a net that was trained on one answers the same on the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.cli import main

RNG = np.random.default_rng(0)
CLASSES = ("blue", "green", "red")

TRAIN = """
layer {{ name: "data" type: "{type}" top: "data" top: "label" include {{ phase: {phase} }}
        transform_param {{ mean_file: "mean.binaryproto" scale: 0.0078125 crop_size: 8 mirror: {mirror} }}
        {source} }}
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
DEPLOY = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }'
PROB = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }'


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """Images of three colours in folders, made into a database, and a net trained on it: all by our own tools."""
    folder = tmp_path_factory.mktemp("colours")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for label, name in enumerate(CLASSES):
            Path("images", name).mkdir(parents=True)
            for number in range(20):
                pixels = RNG.integers(0, 120, (10, 12, 3))
                pixels[:, :, 2 - label] += 110
                Image.fromarray(pixels.astype(np.uint8)).save(f"images/{name}/{number:02d}.png")
        assert main(["convert-imageset", "--shuffle", "--labels", "labels.txt", "images", "db"]) == 0
        assert main(["mean", "db", "mean.binaryproto"]) == 0
        source = 'data_param { source: "db" batch_size: 20 backend: LMDB }'
        layers = [
            TRAIN.format(type="Data", phase=phase, mirror=mirror, source=source)
            for phase, mirror in (("TRAIN", "true"), ("TEST", "false"))
        ]
        Path("train.prototxt").write_text("".join(layers) + BODY + LOSS)
        Path("deploy.prototxt").write_text(DEPLOY + BODY + PROB)
        Path("solver.prototxt").write_text(
            'net: "train.prototxt" base_lr: 0.2 lr_policy: "fixed" momentum: 0.9 max_iter: 60 display: 0 '
            'snapshot_prefix: "colours" random_seed: 1 test_iter: 3 test_interval: 60 solver_mode: CPU'
        )
        assert main(["train", "--solver", "solver.prototxt"]) == 0
    return folder


@pytest.fixture
def net(colours, monkeypatch):
    """The trained net for use, and the current folder with all files."""
    monkeypatch.chdir(colours)
    return caffe.Net("deploy.prototxt", caffe.TEST, weights="colours_iter_60.caffemodel")


@pytest.fixture
def transformer(net):
    """Set up as the tutorial does it; the mean is cut like the images, as transform_param's crop does it."""
    blob = caffe.proto.caffe_pb2.BlobProto.FromString(Path("mean.binaryproto").read_bytes())
    made = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    made.set_transpose("data", (2, 0, 1))
    made.set_mean("data", caffe.io.blobproto_to_array(blob)[0][:, 1:9, 2:10])
    made.set_raw_scale("data", 255)
    made.set_channel_swap("data", (2, 1, 0))
    made.set_input_scale("data", 0.0078125)
    return made


def test_an_image_is_classified(net, transformer):
    labels = Path("labels.txt").read_text().split()
    for name in CLASSES:
        net.blobs["data"].reshape(1, 3, 8, 8)
        image = caffe.io.load_image(f"images/{name}/00.png")
        net.blobs["data"].data[...] = transformer.preprocess("data", image[1:9, 2:10])
        output = net.forward()
        probabilities = output["prob"][0]
        assert labels[probabilities.argmax()] == name
        assert probabilities.max() > 0.8
    top = probabilities.argsort()[::-1][:2]
    assert probabilities[top[0]] >= probabilities[top[1]]


def test_a_batch_of_images_and_the_features_on_the_way(net, transformer):
    image = caffe.io.load_image("images/red/03.png")[1:9, 2:10]
    net.blobs["data"].reshape(50, 3, 8, 8)
    net.blobs["data"].data[...] = transformer.preprocess("data", image)
    output = net.forward(blobs=["conv", "pool"])
    assert output["prob"].shape == (50, 3)
    np.testing.assert_array_equal(output["prob"], np.repeat(output["prob"][:1], 50, axis=0))
    assert net.blobs["conv"].data.shape == (50, 4, 6, 6)
    np.testing.assert_allclose(output["pool"][0, :, 0, 0], output["conv"][0].mean((1, 2)), rtol=1e-5)
    first = net.blobs["conv"].data[4]
    assert (first >= 0).all(), "features behind the ReLU"


def test_the_image_comes_back_out_of_the_net(net, transformer):
    image = caffe.io.load_image("images/green/01.png")[1:9, 2:10]
    net.blobs["data"].data[0] = transformer.preprocess("data", image)
    np.testing.assert_allclose(transformer.deprocess("data", net.blobs["data"].data[0]), image, atol=1e-5)


def test_databases_lists_and_transformers_give_the_same_numbers(net, transformer, tmp_path):
    names = [f"images/{name}/{number:02d}.png" for name in CLASSES for number in (4, 7)]
    Path(tmp_path, "list.txt").write_text("".join(f"{name} {number % 3}\n" for number, name in enumerate(names)))
    assert main(["convert-imageset", "./", str(tmp_path / "list.txt"), str(tmp_path / "db")]) == 0
    sources = {
        "Data": f'data_param {{ source: "{tmp_path}/db" batch_size: 6 backend: LMDB }}',
        "ImageData": f'image_data_param {{ source: "{tmp_path}/list.txt" batch_size: 6 }}',
    }
    seen = {}
    for type, source in sources.items():
        path = tmp_path / f"{type}.prototxt"
        path.write_text(TRAIN.format(type=type, phase="TEST", mirror="false", source=source) + BODY + PROB)
        made = caffe.Net(str(path), caffe.TEST, weights="colours_iter_60.caffemodel")
        seen[type] = {name: array.copy() for name, array in made.forward(blobs=["data"]).items()}
        np.testing.assert_array_equal(made.blobs["label"].data, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(seen["Data"]["data"], seen["ImageData"]["data"])
    batch = np.stack([transformer.preprocess("data", caffe.io.load_image(name)[1:9, 2:10]) for name in names])
    np.testing.assert_allclose(batch, seen["Data"]["data"], atol=1e-5)
    np.testing.assert_allclose(net.forward_all(data=batch)["prob"], seen["Data"]["prob"], rtol=1e-4, atol=1e-6)


def test_the_classifier_does_all_of_it(net):
    blob = caffe.proto.caffe_pb2.BlobProto.FromString(Path("mean.binaryproto").read_bytes())
    classifier = caffe.Classifier(
        "deploy.prototxt",
        "colours_iter_60.caffemodel",
        image_dims=(10, 12),
        mean=caffe.io.blobproto_to_array(blob)[0].mean(1).mean(1),
        input_scale=0.0078125,
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    paths = [f"images/{name}/{number:02d}.png" for name in CLASSES for number in range(20)]
    images = [caffe.io.load_image(path) for path in paths]
    for oversample in (True, False):
        predictions = classifier.predict(images, oversample)
        assert predictions.shape == (60, 3)
        assert (predictions.argmax(1) == np.repeat([0, 1, 2], 20)).mean() > 0.95


def test_what_caffe_computed_for_a_trained_model(shared):
    """Golden: the image that goes with a model through Transformer and Net, as the model's own script does it."""
    folder = shared / "models" / "cifar10_quick_simshang"
    net = caffe.Net(
        str(folder / "cifar10_quick.prototxt"), caffe.TEST, weights=str(folder / "cifar10_quick_iter_5000.caffemodel")
    )
    transformer = caffe.io.Transformer({"data": net.blobs["data"].shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", folder / "mean.binaryproto")
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    net.blobs["data"].reshape(1, 3, 32, 32)
    net.blobs["data"].data[0] = transformer.preprocess("data", caffe.io.load_image(folder / "dog4.png"))
    assert net.forward()["prob"][0].argmax() == 5  # dog
