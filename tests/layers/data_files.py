"""Small files for the tests of the data layers, in a folder that goes away with the process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.proto import Datum

_folder = tempfile.TemporaryDirectory(prefix="caffe-lite-tests-")
FOLDER = Path(_folder.name)
RNG = np.random.default_rng(0)

IMAGES = [RNG.integers(0, 256, (9, 7, 3), np.uint8) for _ in range(5)]  # (H, W, RGB)
ROWS = RNG.standard_normal((11, 2, 3)).astype(np.float32)
NAMES = np.arange(11)

for number, image in enumerate(IMAGES):
    Image.fromarray(image).save(FOLDER / f"image {number}.png")
(FOLDER / "images.txt").write_text("".join(f"image {n}.png {10 * n}\n" for n in range(5)))

for number, part in enumerate((slice(0, 4), slice(4, 5), slice(5, 11))):
    with h5py.File(FOLDER / f"part{number}.h5", "w") as file:
        file["y0"], file["y1"] = ROWS[part], NAMES[part]  # as the exam names tops
(FOLDER / "parts.txt").write_text("part0.h5 part1.h5\npart2.h5\n")

for number in range(2):
    Image.fromarray(IMAGES[number]).save(FOLDER / f"{number}.png")
(FOLDER / "windows.txt").write_text(
    "# 0\n0.png\n3 9 7\n3\n1 0.9 1 2 4 5\n2 0.1 0 0 6 8\n7 0.5 2 2 3 3\n# 1\n1.png\n3 9 7\n1\n3 0 3 0 5 6\n"
)


with DatabaseWriter(FOLDER / "lmdb") as writer:
    for number, image in enumerate(IMAGES):
        pixels = image[:, :, ::-1].transpose(2, 0, 1)
        datum = Datum(channels=3, height=9, width=7, data=pixels.tobytes(), label=10 * number)
        writer.put(b"%08d" % number, datum.SerializeToString())


def planes(image: np.ndarray) -> np.ndarray:
    """An image as a net sees it: (BGR, H, W), floats."""
    return image[:, :, ::-1].transpose(2, 0, 1).astype(np.float64)
