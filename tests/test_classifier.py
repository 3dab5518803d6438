"""Classifier: the answer is what the net says to crops that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from deploy_nets import write_linear
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.errors import CaffeError, ConfigError
from pycaffe_lite.formats.mean import write_mean

RNG = np.random.default_rng(0)
IMAGES = [RNG.random(shape).astype(np.float32) for shape in [(12, 10, 3), (9, 9, 3), (30, 20, 3)]]
MEAN = RNG.random((3, 6, 5)) * 200
OPTIONS = {"mean": MEAN, "raw_scale": 255, "channel_swap": (2, 1, 0), "input_scale": 0.5}


@pytest.fixture
def linear(tmp_path):
    return write_linear(tmp_path, (4, 3, 6, 5))


def by_hand(crop, weights, bias):
    """What the net says to one crop (H, W, K)."""
    planes = crop.astype(np.float64).transpose(2, 0, 1)[::-1] * 255 - MEAN
    return weights @ (planes * 0.5).ravel() + bias


def test_centre_crops(linear):
    model, trained, weights, bias = linear
    classifier = caffe.Classifier(model, trained, image_dims=(8, 8), **OPTIONS)
    predictions = classifier.predict(IMAGES, oversample=False)
    assert predictions.shape == (3, 4)
    for prediction, image in zip(predictions, IMAGES):
        crop = caffe.io.resize_image(image, (8, 8))[1:7, 1:6]
        np.testing.assert_allclose(prediction, by_hand(crop, weights, bias), rtol=1e-4, atol=1e-3)


def test_ten_crops_are_averaged_and_the_default(linear):
    model, trained, weights, bias = linear
    classifier = caffe.Classifier(model, trained, image_dims=[8, 9], **OPTIONS)
    predictions = classifier.predict(iter(IMAGES))
    for prediction, image in zip(predictions, IMAGES, strict=True):
        ten = caffe.io.oversample([caffe.io.resize_image(image, (8, 9))], (6, 5))
        expected = np.mean([by_hand(crop, weights, bias) for crop in ten], 0)
        np.testing.assert_allclose(prediction, expected, rtol=1e-4, atol=1e-3)


def test_images_are_resized_to_the_nets_own_size_unless_told_otherwise(linear):
    model, trained, weights, bias = linear
    classifier = caffe.Classifier(model, trained, **OPTIONS)
    assert tuple(classifier.image_dims) == tuple(classifier.crop_dims) == (6, 5)
    crop = caffe.io.resize_image(IMAGES[0], (6, 5))
    predictions = classifier.predict([IMAGES[0]], oversample=False)
    np.testing.assert_allclose(predictions[0], by_hand(crop, weights, bias), rtol=1e-4, atol=1e-3)


def test_it_is_a_net_for_use(linear):
    classifier = caffe.Classifier(*linear[:2])
    assert isinstance(classifier, caffe.Net)
    assert classifier.phase == caffe.TEST
    assert list(classifier.transformer.transpose) == ["data"]
    assert not classifier.transformer.mean and not classifier.transformer.raw_scale
    caffe.Classifier(*linear[:2], image_dims=(6, 5), input_scale=2)
    assert caffe.Classifier is caffe.classifier.Classifier


@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
def test_the_mean_may_be_a_file(linear, tmp_path, name):
    write_mean(tmp_path / name, MEAN)
    from_file = caffe.Classifier(*linear[:2], mean=tmp_path / name).predict(IMAGES)
    np.testing.assert_allclose(from_file, caffe.Classifier(*linear[:2], mean=MEAN).predict(IMAGES), rtol=1e-5)


def test_an_output_of_several_axes(tmp_path):
    model = tmp_path / "net.prototxt"
    model.write_text("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 4 dim: 4 } } }
        layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
                pooling_param { pool: AVE kernel_size: 2 stride: 2 } }""")
    caffe.Net(str(model), caffe.TEST).save(tmp_path / "net.caffemodel")
    classifier = caffe.Classifier(str(model), str(tmp_path / "net.caffemodel"))
    image = RNG.random((4, 4, 1))
    assert classifier.predict([image] * 3, oversample=False).shape == (3, 1, 2, 2)
    assert classifier.predict([image] * 3).shape == (3, 4), "the mean over crops is flat, as in pycaffe"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.predict([]), "predict: takes at least one image, got none"),
        (
            lambda c: c.predict(IMAGES[0]),
            r"takes a list of images, got one array of shape \(12, 10, 3\); put it into a list",
        ),
        (lambda c: c.predict([IMAGES[0][:, :, 0]]), r"image 0: .* got \(12, 10\); a grey image needs a third axis"),
        (lambda c: c.predict([IMAGES[0], IMAGES[0][:, :, :1]]), r"image 1 \(12, 10, 1\): the net takes 3 channel"),
        (lambda c: c.predict(["cat.jpg"]), r"image 0: an image must be numbers, got an array of <U7"),
        (lambda c: c.predict("cat.jpg"), r"takes a list of images, got str"),
    ],
)
def test_what_is_no_image_for_the_net(linear, call, message):
    classifier = caffe.Classifier(*linear[:2])
    with pytest.raises(CaffeError, match=message):
        call(classifier)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_dims": (4, 9)}, r"image_dims: must be at least the \(6, 5\) of the net's input, got \(4, 9\)"),
        ({"image_dims": 256}, "image_dims"),
        ({"mean": np.zeros(4)}, "mean: must be one number for each of 3 channels"),
        ({"channel_swap": (1, 0)}, "channel swap: must be 3 numbers"),
        ({"mean": "gone.npy"}, "gone.npy: no such mean file"),
    ],
)
def test_options_that_do_not_fit(linear, options, message):
    with pytest.raises(CaffeError, match=message):
        caffe.Classifier(*linear[:2], **options)


def test_nets_that_take_no_images(tmp_path):
    with pytest.raises(ConfigError, match=r"'data' has shape \(4, 6\)"):
        caffe.Classifier(*write_linear(tmp_path, (4, 6))[:2])
    model = tmp_path / "net.prototxt"
    model.write_text('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 } } }')
    caffe.Net(str(model), caffe.TEST).save(tmp_path / "net.caffemodel")
    with pytest.raises(ConfigError, match=r"has no inputs .*deploy"):
        caffe.Classifier(str(model), str(tmp_path / "net.caffemodel"))


def test_an_image_of_a_trained_model(shared):
    """The script that came with the model: load_image, Classifier, a dog is a dog."""
    folder = shared / "models" / "cifar10_quick_simshang"
    blob = caffe.io.caffe_pb2.BlobProto.FromString((folder / "mean.binaryproto").read_bytes())
    classifier = caffe.Classifier(
        str(folder / "cifar10_quick.prototxt"),
        str(folder / "cifar10_quick_iter_5000.caffemodel"),
        mean=caffe.io.blobproto_to_array(blob)[0],
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    image = caffe.io.load_image(str(folder / "dog4.png"))
    probabilities = classifier.predict([image], oversample=False)[0]
    assert probabilities.argmax() == 5
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)


def test_a_file_of_an_image_with_alpha(linear, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (7, 7, 4), np.uint8)).save(tmp_path / "a.png")
    classifier = caffe.Classifier(*linear[:2])
    assert classifier.predict([caffe.io.load_image(tmp_path / "a.png")]).shape == (1, 4)
