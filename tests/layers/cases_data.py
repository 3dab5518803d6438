"""Exam rows of the layers that bring data into a net or take it out."""

from __future__ import annotations

import numpy as np
from data_files import FOLDER, IMAGES, NAMES, ROWS, planes
from exam import Case, spread

MEMORY = spread((6, 2, 3, 1))


def give_arrays(net):
    net.set_input_arrays(MEMORY, np.arange(6))


def second_batch(bottoms, params, layer):
    return [MEMORY[3:], np.arange(3, 6)]


def run_once(net):
    give_arrays(net)
    net.run_forward()


CASES: dict[str, list[Case]] = {
    "DummyData": [
        Case(
            'type: "DummyData" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1.5 } }',
            bottoms=(), tops=2, reshape=False, reference=lambda b, p, layer: [np.full((2, 3), 1.5)] * 2,
        ),
        Case(
            'type: "DummyData" dummy_data_param { num: 2 channels: 1 channels: 3 height: 1 width: 5'
            ' data_filler { type: "gaussian" std: 2 } data_filler { value: 3 } }',
            bottoms=(), tops=2, reshape=False,
        ),
        Case('type: "DummyData" dummy_data_param { shape { dim: 1 } }', bottoms=(), reshape=False),
    ],
    "MemoryData": [
        Case(
            'type: "MemoryData" memory_data_param { batch_size: 3 channels: 2 height: 3 width: 1 }',
            bottoms=(), tops=2, reshape=False, before=run_once, reference=second_batch,
        ),
    ],
}  # fmt: skip


def python(layer, param_str="", **rest):
    fields = f'module: "sample_layers" layer: "{layer}" param_str: "{param_str}"'
    return Case(f'type: "Python" python_param {{ {fields} }}', **rest)


CASES["Python"] = [
    python("TimesTen", reference=lambda b, p, layer: [10 * b[0]]),
    python(
        "TimesTen", bottoms=[(2, 3), (1,)], tops=2, reshape=False, reference=lambda b, p, layer: [10 * x for x in b]
    ),
    python("Affine", "1 2", reference=lambda b, p, layer: [p[0] * b[0] + p[1]]),
    python("Square", bottoms=[(3, 2)], reference=lambda b, p, layer: [(b[0] ** 2).sum() / 6]),
    python("Positive", bottoms=[(3, 2)], gradient=False, reference=lambda b, p, layer: [b[0][b[0] > 0]]),
]


SOURCES = {
    "Data": ("data_param", "lmdb"),
    "ImageData": ("image_data_param", "images.txt"),
    "HDF5Data": ("hdf5_data_param", "parts.txt"),
    "WindowData": ("window_data_param", "windows.txt"),
}


def from_files(kind, fields, tops=2, extra="", **rest):
    param, source = SOURCES[kind]
    body = f'type: "{kind}" {param} {{ source: "{FOLDER}/{source}" {fields} }} {extra}'
    return Case(body, bottoms=(), tops=tops, reshape=False, **rest)


def first_images(bottoms, params, layer):
    return [[planes(image) for image in IMAGES[:3]], [0, 10, 20]]


def second_rows(bottoms, params, layer):
    return [np.roll(ROWS, -7, 0)[:7], np.roll(NAMES, -7)[:7]]


def first_window(bottoms, params, layer):
    """Window 1 2 4 5 of image 0, which is as large as the crop."""
    return [[planes(IMAGES[0])[:, 2:6, 1:5]] * 2, [1, 1]]


CASES["Data"] = [
    from_files("Data", "backend: LMDB batch_size: 3", reference=first_images),
    from_files("Data", "backend: LMDB batch_size: 4", tops=1, extra="transform_param { crop_size: 4 mirror: true }"),
]
CASES["ImageData"] = [
    from_files("ImageData", "batch_size: 3", reference=first_images),
    from_files(
        "ImageData",
        "new_height: 5 new_width: 11 is_color: false shuffle: true",
        extra="transform_param { crop_size: 4 mirror: true mean_value: 100 }",
    ),
]
CASES["HDF5Data"] = [
    from_files("HDF5Data", "batch_size: 7", before=lambda net: net.run_forward(), reference=second_rows),
    from_files("HDF5Data", "batch_size: 30 shuffle: true"),
]
CASES["WindowData"] = [
    from_files(
        "WindowData",
        "batch_size: 2 fg_fraction: 1 fg_threshold: 0.8",
        extra="transform_param { crop_size: 4 }",
        reference=first_window,
    ),
    from_files(
        "WindowData",
        'batch_size: 5 context_pad: 1 crop_mode: "square"',
        extra="transform_param { crop_size: 6 mirror: true mean_value: 3 }",
    ),
]
OUTPUT = f'type: "HDF5Output" hdf5_output_param {{ file_name: "{FOLDER}/output.h5" }}'
CASES["HDF5Output"] = [Case(OUTPUT, [(2, 3), (2,)], tops=0, reshape=False)]
