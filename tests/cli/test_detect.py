"""`caffe-lite detect`: the table that it writes is what the Detector says."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from deploy_nets import write_linear
from PIL import Image

import pycaffe_lite as caffe
from pycaffe_lite.cli import main

RNG = np.random.default_rng(0)
NET = ["--model", "linear.prototxt", "--weights", "linear.caffemodel"]
WINDOWS = "filename,xmin,ymin,xmax,ymax\na.png,0,0,8,9\nb.png, 1,2,5,7\na.png,3,3,6.0,6\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, with a net for images 6 x 6, two images and windows of them."""
    monkeypatch.chdir(tmp_path)
    write_linear(tmp_path, (2, 3, 6, 6))
    for name in ("a.png", "b.png"):
        Image.fromarray(RNG.integers(0, 256, (9, 8, 3), np.uint8)).save(name)
    Path("windows.csv").write_text(WINDOWS)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([], {}),
        (["--mean_file", "104,117,123", "--input_scale=0.5"], {"mean": np.array([104, 117, 123]), "input_scale": 0.5}),
        (["--context_pad", "1", "--mean", "9,8,7"], {"context_pad": 1, "mean": np.array([9, 8, 7])}),
    ],
)
def test_the_table_holds_what_the_detector_says(folder, flags, options, capsys):
    assert main(["detect", "--crop_mode=list", *NET, "windows.csv", *flags, "out.csv"]) == 0
    assert capsys.readouterr().out == "out.csv: 3 windows\n"
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert list(rows[0]) == ["filename", "ymin", "xmin", "ymax", "xmax", "class0", "class1", "class2", "class3"]
    detector = caffe.Detector(NET[1], NET[3], raw_scale=255, channel_swap=(2, 1, 0), **options)
    expected = detector.detect_windows([("a.png", [(0, 0, 9, 8), (3, 3, 6, 6)]), ("b.png", [(2, 1, 7, 5)])])
    for row, wanted in zip(rows, expected, strict=True):
        assert row["filename"] == wanted["filename"]
        assert tuple(int(row[edge]) for edge in ("ymin", "xmin", "ymax", "xmax")) == wanted["window"]
        scores = [float(row[f"class{number}"]) for number in range(4)]
        np.testing.assert_allclose(scores, wanted["prediction"], rtol=1e-5, atol=1e-6)


REFUSED = {
    "no table": (["gone.csv", "out.csv"], "gone.csv: cannot be read"),
    "no image": (["absent.csv", "out.csv"], "absent.png: cannot be read"),
    "columns": (["columns.csv", "out.csv"], "columns.csv:1: must have the columns .*; ymin, ymax missing"),
    "numbers": (["numbers.csv", "out.csv"], "numbers.csv:3: ymin, xmin, ymax, xmax must be numbers, got 1, 1, two, 2"),
    "short row": (["short.csv", "out.csv"], "short.csv:2: .* must be numbers, got 1, None, None, None"),
    "outside": (["outside.csv", "out.csv"], r"a.png: window .* \(20, 0, 30, 5\) must have pixels in the image"),
    "empty": (["empty.csv", "out.csv"], "empty.csv: has no windows"),
    "nothing": (["nothing.csv", "out.csv"], "nothing.csv:1: must have the columns"),
    "ending": (["windows.csv", "out.h5"], "OUT: its name must end in .csv, got 'out.h5'"),
    "one file": (["windows.csv"], "WINDOWS.csv and OUT.csv are wanted, got windows.csv"),
    "search": (["windows.csv", "out.csv", "--crop-mode", "selective_search"], "selective_search_ijcv_with_python"),
    "pad": (["windows.csv", "out.csv", "--context-pad", "3"], "context_pad: must be from 0"),
}
TABLES = {
    "absent": "filename,ymin,xmin,ymax,xmax\nabsent.png,0,0,5,5\n",
    "columns": "filename,xmin,xmax\na.png,1,2\n",
    "numbers": "filename,ymin,xmin,ymax,xmax\na.png,0,0,5,5\na.png,1,1,two,2\n",
    "short": "filename,ymin,xmin,ymax,xmax\na.png,1\n",
    "outside": "filename,ymin,xmin,ymax,xmax\na.png,20,0,30,5\n",
    "empty": "filename,ymin,xmin,ymax,xmax\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_one_clear_line(folder, capsys, name):
    for table, text in TABLES.items():
        Path(f"{table}.csv").write_text(text)
    arguments, message = REFUSED[name]
    before = set(os.listdir())
    assert main(["detect", *NET, *arguments]) == 1
    err = capsys.readouterr().err
    assert re.search(f"^caffe-lite detect: error: .*{message}", err, re.M), err
    assert "Traceback" not in err
    assert set(os.listdir()) == before
