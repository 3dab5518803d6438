"""ImageData, HDF5Data, HDF5Output, WindowData: against Caffe's batches, over many epochs, and what is refused."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest
from data_files import FOLDER, IMAGES, NAMES, ROWS, planes
from PIL import Image

from pycaffe_lite import random
from pycaffe_lite.data import hdf5_rows
from pycaffe_lite.data.resize import resize
from pycaffe_lite.data.windows import Placed, Window, place
from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

CAFFE = [
    *("hdf5data", "imagedata", "imagedata_resize", "imagedata_shrink_gray", "leveldb_encoded", "lmdb_gray"),
    *("lmdb_mean_file_crop", "lmdb_mean_scale", "lmdb_mean_value_crop", "lmdb_plain"),
]


def net_of(kind, fields, extra="", tops=("data", "label"), phase=caffe_pb2.TRAIN, seed=1, bottoms=()):
    """A net with this layer; `fields` are those of its own message."""
    param = next(
        f for f in caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name if f.replace("_", "") == kind.lower() + "param"
    )
    names = " ".join(f'top: "{t}"' for t in tops) + " ".join(f' bottom: "{b}"' for b in bottoms)
    inputs = [
        f'layer {{ name: "{b}" type: "Input" top: "{b}" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}' for b in bottoms
    ]
    layer = f'layer {{ name: "l" type: "{kind}" {names} {param} {{ {fields} }} {extra} }}'
    message = text.parse("\n".join([*inputs, layer]), NetParameter())
    message.state.phase = phase
    random.set_random_seed(seed)
    return Net.from_proto(message)


def batches(net, count, top="label"):
    return [net.forward()[top].tolist() for _ in range(count)]


@pytest.mark.parametrize("name", CAFFE)
def test_batches_agree_with_caffe(name, shared):
    folder = shared / "golden" / "files"
    arrays = np.load(folder / f"{name}.npz")
    net = Net(folder / f"{name}.prototxt", caffe_pb2.TEST)
    for i in range(4):
        net.forward()
        for top in ("data", "label"):
            got, want = net.blobs[top].data, arrays[f"{top}{i}"]
            assert got.shape == want.shape
            assert np.abs(got - want).max() <= 1e-4 * max(1, np.abs(want).max()), (top, i)


# HDF5

HDF5 = f'source: "{FOLDER}/parts.txt"'
WHOLE = [("y0", "y1"), ROWS, NAMES]


@pytest.mark.parametrize(("kept", "block"), [(1 << 30, 1), (0, 1), (0, 56), (60, 1 << 20)])
@pytest.mark.parametrize("shuffle", ["false", "true"])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_every_epoch_has_every_row_once_however_files_are_read(monkeypatch, kept, block, shuffle, prefetch):
    monkeypatch.setattr(hdf5_rows, "IN_MEMORY", kept)
    monkeypatch.setattr(hdf5_rows, "BLOCK", block)
    extra = f"data_param {{ prefetch: {prefetch} }}"
    net = net_of("HDF5Data", f"{HDF5} batch_size: 4 shuffle: {shuffle}", extra, tops=("y0", "y1"))
    seen = []
    for _ in range(11):
        net.forward()
        seen += net.blobs["y1"].data.astype(int).tolist()
        assert np.array_equal(net.blobs["y0"].data, ROWS[seen[-4:]])
    epochs = [seen[i : i + 11] for i in range(0, 44, 11)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert (epochs[0] == list(range(11))) == (shuffle == "false")
    assert (epochs[0] == epochs[1]) == (shuffle == "false")


def test_shuffled_rows_stay_within_their_file():
    net = net_of("HDF5Data", f"{HDF5} batch_size: 11 shuffle: true", tops=("y1",))
    for epoch in batches(net, 5, "y1"):
        parts = [0 if n < 4 else 1 if n < 5 else 2 for n in epoch]
        assert sorted(parts, key=parts.index) == parts


@pytest.mark.parametrize(
    ("kind", "fields", "tops"),
    [
        ("HDF5Data", f"{HDF5} batch_size: 3 shuffle: true", ("y1",)),
        ("ImageData", f'source: "{FOLDER}/images.txt" batch_size: 2 shuffle: true', ("data", "label")),
        ("WindowData", f'source: "{FOLDER}/windows.txt" batch_size: 4', ("data", "label")),
    ],
)
def test_a_stream_goes_on_where_it_was(kind, fields, tops):
    extra = "transform_param { crop_size: 3 mirror: true }" if kind != "HDF5Data" else ""
    net, later = net_of(kind, fields, extra, tops), net_of(kind, fields, extra, tops, seed=2)
    for _ in range(4):
        net.forward()
    later.layers[0].restore(net.layers[0].state_dict())
    for _ in range(3):
        net.forward(), later.forward()
        assert all(np.array_equal(net.blobs[top].data, later.blobs[top].data) for top in tops)


def h5_file(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"date": np.zeros(3)}, r"has no dataset 'data', only date; did you mean 'date'\?"),
        ({"data": np.zeros(0), "label": np.zeros(0)}, "has no rows"),
        ({"data": np.zeros(3), "label": np.zeros(4)}, "as many rows: data has 3, label 4"),
        ({"data": np.zeros(3), "label": np.array([b"a"] * 3)}, "dataset 'label' must hold numbers"),
        ({"data": 1.0, "label": 2.0}, "must have at least 1 axis"),
        (
            {"data": np.zeros((3, 2)), "label": np.zeros(3)},
            r"rows of 'data' must have one shape: \(\) in .*a.h5, \(2,\) in",
        ),
    ],
)
def test_hdf5_files_that_do_not_serve_are_refused(tmp_path, datasets, message):
    h5_file(tmp_path / "a.h5", data=np.zeros(2), label=np.zeros(2))
    h5_file(tmp_path / "b.h5", **datasets)
    (tmp_path / "list").write_text("a.h5\nb.h5\n")  # found beside the list
    with pytest.raises(DataError, match=rf"layer 'l' \(HDF5Data\): .*{message}"):
        net_of("HDF5Data", f'source: "{tmp_path}/list" batch_size: 1')


def test_missing_hdf5_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"layer 'l' \(HDF5Data\): .*/none: cannot be read as a list"):
        net_of("HDF5Data", f'source: "{tmp_path}/none" batch_size: 1')
    (tmp_path / "list").write_text("")
    with pytest.raises(DataError, match="names no HDF5 files"):
        net_of("HDF5Data", f'source: "{tmp_path}/list" batch_size: 1')
    (tmp_path / "list").write_text("missing.h5")
    with pytest.raises(DataError, match=r"missing.h5: cannot be read as an HDF5 file"):
        net_of("HDF5Data", f'source: "{tmp_path}/list" batch_size: 1')


def test_output_is_added_to_and_begun_anew(tmp_path):
    path = tmp_path / "out.h5"
    for start in (0, 10):
        net = net_of("HDF5Output", f'file_name: "{path}"', tops=(), bottoms=("a", "b"))
        for step in range(3):
            net.blobs["a"].data[...] = start + step
            net.blobs["b"].data[...] = -1
            net.forward()
        with h5py.File(path) as file:
            assert file["data"].shape == file["label"].shape == (6, 3, 1, 1)  # four axes, as Caffe writes it
            assert file["data"][:, 0, 0, 0].tolist() == [start, start, start + 1, start + 1, start + 2, start + 2]
    net.blobs["a"].reshape(2, 4)
    with pytest.raises(ConfigError, match=r"data: the file has rows of shape \(3, 1, 1\), this batch \(4, 1, 1\)"):
        net.forward()
    net.blobs["a"].reshape(1, 3)
    with pytest.raises(ConfigError, match=r"same first axis, got shapes \(1, 3\) and \(2, 3\)"):
        net.forward()


def test_output_that_cannot_be_written_says_so(tmp_path):
    net = net_of("HDF5Output", f'file_name: "{tmp_path}/no/out.h5"', tops=(), bottoms=("a", "b"))
    with pytest.raises(DataError, match=r"layer 'l' \(HDF5Output\): .*/no/out.h5: cannot be written"):
        net.forward()


# Images


def test_images_of_several_sizes_need_a_batch_size_of_one(tmp_path):
    for number, size in enumerate(((4, 5), (7, 3))):
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "list").write_text("0.png 0\n\n1.png 1\n")
    net = net_of("ImageData", f'source: "{tmp_path}/list" batch_size: 1')
    shapes = [net.forward() and net.blobs["data"].shape for _ in range(3)]
    assert shapes == [(1, 3, 4, 5), (1, 3, 7, 3), (1, 3, 4, 5)]
    net = net_of("ImageData", f'source: "{tmp_path}/list" batch_size: 2')
    with pytest.raises(DataError, match=r"one shape, but 0.png has \(3, 4, 5\) and 1.png \(3, 7, 3\); use new_height"):
        net.forward()


def test_images_are_shuffled_anew_and_skipped_once():
    fields = f'source: "{FOLDER}/images.txt" batch_size: 5'
    epochs = batches(net_of("ImageData", f"{fields} shuffle: true"), 4)
    assert all(sorted(epoch) == [0, 10, 20, 30, 40] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1
    starts = {batches(net_of("ImageData", f"{fields} rand_skip: 3", seed=seed), 1)[0][0] for seed in range(20)}
    assert starts == {0, 10, 20}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no images"),
        ("a.png", r"list:1: must be a path, a space and a whole number, got 'a.png'"),
        ("a.png 1\nb.png 1.5", r"list:2: must be a path, a space and a whole number, got 'b.png 1.5'"),
        ("missing.png 1", r"missing.png: cannot be read: No such file"),
        ("list 1", "list: not an image that can be decoded"),
    ],
)
def test_image_lists_that_do_not_serve_are_refused(tmp_path, content, message):
    (tmp_path / "list").write_text(content)
    with pytest.raises(DataError, match=rf"layer 'l' \(ImageData\): .*{message}"):
        net_of("ImageData", f'source: "{tmp_path}/list"')


def test_a_resized_image_is_bilinear():
    image = np.arange(0, 240, 10, dtype=np.uint8).reshape(1, 4, 6)
    assert resize(image, 4, 6) is image
    assert resize(image, 2, 3).tolist() == [[[35, 55, 75], [155, 175, 195]]]  # the means of four
    assert resize(image[:, :1, :2], 1, 4).tolist() == [[[0, 3, 8, 10]]]
    assert resize(image[:, :, :1], 1, 1).tolist() == [[[90]]]


# Windows

IN_FILE = f'source: "{FOLDER}/windows.txt"'


def test_a_batch_has_its_share_of_foreground_and_background():
    net = net_of("WindowData", f"{IN_FILE} batch_size: 8 fg_fraction: 0.4", "transform_param { crop_size: 3 }")
    seen = batches(net, 10)
    assert all(row[:5] == [0] * 5 and set(row[5:]) <= {1, 7} for row in seen)
    assert {label for row in seen for label in row} == {0, 1, 7}


def test_scale_and_mean_values_and_mirror():
    fields = f"{IN_FILE} batch_size: 1 fg_fraction: 1 fg_threshold: 0.8 scale: 0.5 cache_images: true"
    net = net_of(
        "WindowData", fields, "transform_param { crop_size: 4 mirror: true mean_value: 1 mean_value: 2 mean_value: 3 }"
    )
    window = (planes(IMAGES[0])[:, 2:6, 1:5] - np.array([1, 2, 3])[:, None, None]) / 2
    seen = {net.forward()["data"].tobytes() for _ in range(20)}
    assert seen == {w.astype(np.float32).tobytes() for w in (window, window[:, :, ::-1])}


def test_the_middle_of_a_mean_image_is_subtracted(tmp_path):
    mean = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "mean.npy", mean)
    fields = f"{IN_FILE} batch_size: 1 fg_fraction: 1 fg_threshold: 0.8"
    extra = f'transform_param {{ crop_size: 4 mean_file: "{tmp_path}/mean.npy" }}'
    want = planes(IMAGES[0])[:, 2:6, 1:5] - mean[:, 2:6, 2:6]
    assert np.allclose(net_of("WindowData", fields, extra).forward()["data"][0], want)
    np.save(tmp_path / "mean.npy", mean[:, :3, :3])
    with pytest.raises(ConfigError, match=r"mean_file: must hold a crop of 4 in its middle, got shape \(3, 3, 3\)"):
        net_of("WindowData", fields, extra)


def test_context_beyond_the_image_stays_empty():
    # grown by 8 / (8 - 2 * 2): columns -2 to 6, of which 7 of 9 lie in the image; rows 3 to 11, all inside
    window = Window("", 1, 0, 5, 3, 8)
    assert place(window, 20, 20, 8, 2, False, False) == Placed(0, 3, 6, 11, 8, 6, 0, 2)
    assert place(window, 20, 20, 8, 2, False, True).left == 0  # mirrored, the empty columns are on the right
    assert place(window, 20, 20, 8, 0, False, False) == Placed(0, 5, 3, 8, 8, 8, 0, 0)
    # the smallest square around 4 x 8 pixels, and no context
    assert place(Window("", 1, 8, 4, 11, 11), 20, 20, 6, 0, True, False)[:4] == (6, 4, 14, 12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no images"),
        ("image 0", r"image 0 \(the first\): a '#' must begin every image, got 'image'"),
        ("# 0 a.png 3 4 4", r"image 0 \(a.png\): the file ends within it"),
        ("# 0 a.png 1 4 4 0", "images must have 3 channels, .* got 1"),
        ("# 0 a.png 3 4 4 1 x 1 1 1 1 1", r"image 0 \(a.png\): invalid literal"),
        ("# 0 a.png 3 4 4 1 0 0.9 1 1 2 2", "foreground window of a.png has class 0; it must be above 0"),
        ("# 0 a.png 3 4 4 1 1 0.9 1 1 2 2", "has no background windows, but a batch needs 3"),
        ("# 0 a.png 3 4 4 1 1 0.1 1 1 2 2", "has no foreground windows, but a batch needs 1"),
    ],
)
def test_window_files_that_do_not_serve_are_refused(tmp_path, content, message):
    (tmp_path / "list").write_text(content)
    with pytest.raises(DataError, match=rf"layer 'l' \(WindowData\): .*list: .*{message}"):
        net_of("WindowData", f'source: "{tmp_path}/list" batch_size: 4', "transform_param { crop_size: 2 }")


def test_a_window_outside_its_image_is_refused(tmp_path):
    (tmp_path / "list").write_text(f"# 0 {FOLDER}/0.png 3 9 7 1 1 0.9 1 1 7 2")
    net = net_of(
        "WindowData", f'source: "{tmp_path}/list" batch_size: 1 fg_fraction: 1', "transform_param { crop_size: 2 }"
    )
    with pytest.raises(DataError, match="window 1 1 7 2 does not lie in the image, which is 7 wide and 9 high"):
        net.forward()


# Fields

SIX = "transform_param { crop_size: 6 }"


@pytest.mark.parametrize(
    ("kind", "fields", "extra", "message"),
    [
        ("HDF5Data", "batch_size: 1", "", "hdf5_data_param.source: must name a list"),
        ("HDF5Data", 'source: "a"', "", "hdf5_data_param.batch_size: must be at least 1, got 0"),
        ("HDF5Data", 'source: "a" batch_size: 1', SIX, "transform_param: HDF5 data are taken as they are"),
        ("ImageData", "", "", "image_data_param.source: must name a list of images"),
        ("ImageData", 'source: "a" batch_size: 0', "", "batch_size: must be at least 1, got 0"),
        (
            "ImageData",
            'source: "a" new_width: 2147483647 new_height: 3',
            "",
            "no image can be as large as 3 x 2147483647",
        ),
        ("ImageData", 'source: "a" new_width: 3', "", "new_height and new_width must be given together"),
        ("ImageData", 'source: "a" short_side: 3', "", "short_side: is NVIDIA's"),
        ("WindowData", "", SIX, "window_data_param.source: must name a window file"),
        ("WindowData", 'source: "a"', SIX, "window_data_param.batch_size: must be at least 1, got 0"),
        ("WindowData", 'source: "a" batch_size: 1', "", "transform_param.crop_size: must be at least 1, got 0"),
        ("WindowData", 'source: "a" batch_size: 1 context_pad: 3', SIX, "less than half of crop_size 6, got 3"),
        ("WindowData", 'source: "a" batch_size: 1 crop_mode: "wrap"', SIX, "must be warp or square, got 'wrap'"),
        ("WindowData", 'source: "a" batch_size: 1 fg_fraction: 2', SIX, r"fg_fraction: must be in \[0, 1\], got 2"),
        ("HDF5Output", "", "", "hdf5_output_param.file_name: must be given"),
    ],
)
def test_impossible_fields_are_refused(kind, fields, extra, message):
    output = kind == "HDF5Output"
    with pytest.raises(ConfigError, match=rf"layer 'l' \({kind}\): .*{message}"):
        net_of(kind, fields, extra, tops=() if output else ("data", "label"), bottoms=("a", "b") if output else ())


def test_fields_that_caffe_leaves_aside_are_named(caplog):
    net_of("ImageData", f'source: "{FOLDER}/images.txt" scale: 2')
    assert "image_data_param.scale is left aside, as in Caffe; transform_param.scale counts" in caplog.text


@pytest.mark.parametrize(
    ("module", "kind", "fields", "tops", "advice"),
    [
        ("h5py", "HDF5Data", f"{HDF5} batch_size: 1", ("y0",), r"h5py is needed: pip install 'caffe-lite\[hdf5\]'"),
        ("PIL", "ImageData", f'source: "{FOLDER}/images.txt"', ("data", "label"), "Pillow.*pip install"),
    ],
)
def test_a_library_that_is_missing_is_named(monkeypatch, module, kind, fields, tops, advice):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"layer 'l' \({kind}\): .*{advice}"):
        net_of(kind, fields, tops=tops)
