"""Nets and solvers with one thing wrong each, for every rule; and some with nothing wrong.

A case: `net` or `solver` (prototxt), `weights` (layer -> arrays), `labels` (of an LMDB `db` beside the file),
`list` (an image list beside it), and options of the linter. `given`: whether the linter is told of the weights.
"""

from __future__ import annotations

import numpy as np

from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.formats import blobproto
from pycaffe_lite.proto import Datum, NetParameter

INPUT = (
    'layer { name: "x" type: "Input" top: "x" top: "t" '
    "input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 } } }\n"
)
ONE_INPUT = INPUT.replace('top: "t" ', "").replace("shape { dim: 4 } ", "")
DATA = (
    'layer { name: "d" type: "Data" top: "x" top: "t" %s '
    'data_param { source: "db" batch_size: 2 backend: LMDB %s } transform_param { %s } }\n'
)
FILLER = 'weight_filler { type: "xavier" }'


def layer(kind, bottom, top, inside="", name=""):
    bottoms = "".join(f'bottom: "{b}" ' for b in bottom.split())
    tops = "".join(f'top: "{t}" ' for t in top.split())
    return f'layer {{ name: "{name or kind}" type: "{kind}" {bottoms}{tops}{inside} }}\n'


def conv(inside=FILLER, outer="", bottom="x", top="c", name="conv"):
    return layer(
        "Convolution", bottom, top, f"{outer} convolution_param {{ num_output: 4 kernel_size: 3 {inside} }}", name
    )


def ip(bottom="c", outputs=3, inside=FILLER, outer="", top="ip", name="ip"):
    return layer("InnerProduct", bottom, top, f"{outer} inner_product_param {{ num_output: {outputs} {inside} }}", name)


LOSS = layer("SoftmaxWithLoss", "ip t", "loss", name="loss")
CROSS = layer("SigmoidCrossEntropyLoss", "p t", "loss")
ACCURACY = layer("Accuracy", "ip t", "acc", "include { phase: TEST }", name="acc")
CONV = conv("bias_term: false " + FILLER)
SCALE = layer("Scale", "c", "c", "scale_param { bias_term: true }")
NORM = layer("BatchNorm", "c", "c", "%s")
RELU = layer("ReLU", "c", "c")
TAIL = RELU + ip() + LOSS + ACCURACY
PLAIN = INPUT + conv() + TAIL
IMAGES = (
    'layer { name: "d" type: "ImageData" top: "x" top: "t" %s '
    'image_data_param { source: "list.txt" batch_size: 2 new_height: 6 new_width: 6 %s } }\n'
)
SOLVER = """net: "net.prototxt" test_iter: 3 test_interval: 10 base_lr: 0.1 lr_policy: "%s" max_iter: 100
snapshot_prefix: "s" %s
"""


def solver(policy="fixed", more="", net=PLAIN, **other):
    return {"solver": SOLVER % (policy, more), "net": net, **other}


def pooled(inside):
    return INPUT + layer("Pooling", "x", "p", f"pooling_param {{ {inside} }}") + ip("p") + LOSS


def stats(*values):
    return {"BatchNorm": [np.full(shape, value, np.float32) for shape, value in zip([(4,), (4,), (1,)], values)]}


# (rule, case, level, the line and what stands at the place, part of what is found)
BROKEN = [
    ("bias-before-batch-norm", {"net": INPUT + conv() + NORM % "" + SCALE + TAIL},
     "hint", (2, "layer"), "its bias is subtracted again by BatchNorm"),
    ("batch-norm-without-scale", {"net": INPUT + CONV + NORM % "" + TAIL},
     "hint", (3, "layer"), "no Scale layer follows, but ReLU 'ReLU'"),
    ("scale-without-bias", {"net": INPUT + CONV + NORM % "" + layer("Scale", "c", "c") + TAIL},
     "hint", (4, "layer"), "it has no bias, though it follows BatchNorm"),
    ("global-statistics-in-training",
     {"net": INPUT + CONV + NORM % "batch_norm_param { use_global_stats: true }" + SCALE + TAIL},
     "warning", (3, "use_global_stats"), "use_global_stats: true"),
    ("batch-statistics-in-testing",
     {"net": INPUT + CONV + NORM % "batch_norm_param { use_global_stats: false }" + SCALE + TAIL},
     "warning", (3, "use_global_stats"), "use_global_stats: false"),
    ("batch-norm-factor-zero",
     {"net": ONE_INPUT + CONV + NORM % "", "weights": stats(1, 1, 0), "also": ["layer-without-weights"]},
     "error", (3, "layer"), "its statistics in the weights have the factor 0"),
    ("rate-of-statistics",
     {"net": INPUT + CONV + NORM % "param { lr_mult: 1 } param { } param { lr_mult: 2 }" + SCALE + TAIL},
     "hint", (3, "lr_mult: 1"), "lr_mult: 1 for its statistics has no effect"),
    ("duplicate-name", {"net": INPUT + conv() + RELU + layer("ReLU", "c", "c") + ip() + LOSS},
     "hint", (3, "layer"), "2 layers have this name"),
    ("dead-layer", {"net": PLAIN + ip(name="lost", top="lost")},
     "warning", (7, "layer"), "layer 'lost' (InnerProduct): it never learns: no loss is computed from it"),
    ("unread-blob", {"net": PLAIN + layer("Power", "c", "power")},
     "hint", (7, "layer"), "nothing reads its top 'power'"),
    ("unread-blob", {"net": INPUT + conv()}, "hint", (1, "layer"), "nothing reads its top 't'"),
    ("loss-without-gradient",
     {"net": INPUT + conv(outer="param { lr_mult: 0 } param { lr_mult: 0 }")
      + RELU + ip(outer="param { lr_mult: 0 } param { lr_mult: 0 }") + LOSS},
     "warning", (5, "layer"), "no parameter below it learns"),
    ("score-function-twice", {"net": INPUT + ip("x", top="s") + layer("Softmax", "s", "ip") + LOSS},
     "warning", (4, "layer"), "its scores come from Softmax 'Softmax', which it applies itself"),
    ("score-function-twice",
     {"net": INPUT + ip("x", 1, top="s") + layer("Sigmoid", "s", "p") + CROSS},
     "warning", (4, "layer"), "its scores come from Sigmoid"),
    ("probabilities-expected", {"net": INPUT + ip("x") + layer("MultinomialLogisticLoss", "ip t", "loss")},
     "warning", (3, "layer"), "scores, not probabilities"),
    ("clipped-scores", {"net": INPUT + ip("x") + layer("ReLU", "ip", "ip") + LOSS},
     "warning", (4, "layer"), "its scores come from ReLU 'ReLU'"),
    ("zero-weights", {"net": INPUT + conv("") + RELU + ip() + LOSS},
     "hint", (2, "layer"), "1 layer(s) that learn start with weights of 0: conv"),
    ("ignored-transformation", {"net": DATA % ("", "scale: 0.5", "crop_size: 4") + ip("x") + LOSS},
     "warning", (1, "scale: 0.5"), "data_param.scale is ignored"),
    ("ignored-block", {"net": INPUT + conv(outer="pooling_param { stride: 2 }") + TAIL},
     "warning", (2, "pooling_param"), "pooling_param is ignored"),
    ("transformations-differ",
     {"net": DATA % ("include { phase: TRAIN }", "", "crop_size: 4 scale: 0.5")
      + DATA % ("include { phase: TEST }", "", "crop_size: 4") + ip("x") + LOSS},
     "warning", (1, "scale: 0.5"), "scale is 0.5 in TRAIN and 1.0 in TEST"),
    ("transformations-differ",
     {"net": DATA % ("include { phase: TRAIN }", "", 'crop_size: 4 mean_file: "a"')
      + DATA % ("include { phase: TEST }", "", 'crop_size: 4 mean_file: "b"') + ip("x") + LOSS},
     "hint", (1, "mean_file"), "mean_file is a in TRAIN and b in TEST"),
    ("mirror-in-testing", {"net": DATA % ("", "", "crop_size: 4 mirror: true") + ip("x") + LOSS + ACCURACY},
     "hint", (1, "mirror: true"), "mirror: true"),
    ("window-outside", {"net": pooled("kernel_size: 1 stride: 3"), "shapes": ["x=4,3,8,9"]},
     "warning", (2, "stride: 3"), "its last window starts at 9, behind the 8 pixels"),
    ("rounding-up", {"net": pooled("kernel_size: 3 stride: 2")},
     "hint", (2, "layer"), "1 Pooling layer(s) round up: Pooling gives 4x4 (down: 3)"),
    ("weights-do-not-fit",
     {"net": PLAIN, "weights": {"conv": [np.zeros((4, 3, 3, 3)), np.zeros(4)], "ip": [np.zeros((3, 9)), np.zeros(3)]}},
     "error", (4, "layer"), "parameter 0: shape (3, 9) in the file, (3, 144) in the net"),
    ("layer-without-weights", {"net": PLAIN, "weights": {"conv": [np.zeros((4, 3, 3, 3)), np.zeros(4)]}},
     "warning", (4, "layer"), "1 layer(s) are not in the weights: ip"),
    ("labels-outside-classes", {"net": DATA % ("", "", "") + ip("x") + LOSS, "labels": [0, 2, 3, 1]},
     "error", (3, "layer"), "'d' has the label 3 (entry '2'), but there are 3 classes, 0 to 2"),
    ("classes-without-samples", {"net": DATA % ("", "", "") + ip("x") + LOSS, "labels": [1, 0] * 10},
     "hint", (3, "layer"), "3 classes, but no label of 'd' is above 1"),
    ("sorted-data", {"net": DATA % ("", "", "") + ip("x") + LOSS, "labels": [0, 0, 1, 1, 2]},
     "warning", (1, "source"), "its samples come sorted by their labels"),
    ("sorted-data", {"net": IMAGES % ("", "") + ip("x") + LOSS, "list": [0, 0, 1, 2], "shapes": ["x=2,3,6,6"]},
     "warning", (1, "source"), "its samples come sorted by their labels"),
    ("solver-refused", solver("stap"), "error", (1, "lr_policy"), "unknown policy 'stap'; did you mean 'step'?"),
    ("solver-refused", solver(more="train_net: 'net.prototxt'"), "error", None, "must name its training net once"),
    ("solver-refused", {**solver(), "solver": SOLVER.replace("test_interval: 10", "") % ("fixed", "")},
     "error", None, "must be at least 1 where there are test nets, got 0"),
    ("solver-refused", {**solver(), "solver": SOLVER.replace("test_iter: 3", "") % ("fixed", "early_stop: 3"),
                        "also": ["never-tested"]}, "error", (2, "early_stop"), "but there is no test net"),
    ("learning-rate", solver("exp", "gamma: 1e5"), "error", (1, "lr_policy"), "the learning rate is inf at iteration"),
    ("learning-rate", {**solver(), "solver": SOLVER.replace("0.1", "0") % ("fixed", "")},
     "error", (1, "base_lr"), "the learning rate is always 0"),
    ("learning-rate", solver("step", "gamma: 0.1 stepsize: 5"),
     "warning", (2, "gamma"), "as good as 0 from about iteration 50 on, of 100"),
    ("rate-never-changes", solver("inv", "gamma: 0.1"), "warning", (1, "lr_policy"), "inv without power keeps its"),
    ("steps-never-reached", solver("step", "gamma: 0.1 stepsize: 500"),
     "hint", (2, "stepsize"), "500 is above max_iter 100"),
    ("no-iterations", {**solver(), "solver": SOLVER.replace("max_iter: 100", "") % ("fixed", "")},
     "hint", None, "0, or not given"),
    ("momentum", solver(more='type: "AdaDelta"'), "warning", (2, "type"), "AdaDelta with momentum 0"),
    ("momentum", solver(more='type: "Adam"'), "hint", (2, "type"), "Adam with momentum 0"),
    ("gradients-clipped-to-nothing", solver(more="clip_gradients: 0"),
     "error", (2, "clip_gradients"), "clip_gradients: 0"),
    ("nothing-saved", solver(more="snapshot_after_train: false"),
     "warning", (2, "snapshot_after_train"), "no snapshot is ever taken"),
    ("never-tested", {**solver(), "solver": SOLVER.replace("test_iter: 3 test_interval: 10", "") % ("fixed", "")},
     "hint", (1, "net"), "layers for TEST, but there is no test_iter"),
    ("test-coverage", solver(net=DATA % ("", "", "") + ip("x") + LOSS + ACCURACY, labels=[0, 2, 1, 2, 0, 1, 2]),
     "warning", (1, "test_iter"), "3 batches of 2 are 6 samples of 7"),
    ("test-coverage", solver(net=DATA % ("", "", "") + ip("x") + LOSS + ACCURACY, labels=[0, 2, 1, 2]),
     "hint", (1, "test_iter"), "3 batches of 2 are 6 samples of 4"),
]  # fmt: skip

GOOD = {
    "plain": {"net": PLAIN},
    "batch norm as it should be": {"net": INPUT + CONV + NORM % "" + SCALE + TAIL},
    "batch norm in front of a layer with weights": {"net": INPUT + CONV + NORM % "" + ip() + LOSS},
    "batch norm with frozen statistics": {
        "net": INPUT + CONV + NORM % "batch_norm_param { use_global_stats: true }"
        + SCALE.replace("scale_param", "param { lr_mult: 0 } param { lr_mult: 0 } scale_param") + TAIL},
    "a net for use": {"net": ONE_INPUT + conv("") + NORM % ""},
    "fixed weights of 0": {"net": INPUT + conv("", "param { lr_mult: 0 } param { lr_mult: 0 }") + RELU + ip() + LOSS},
    "weights of 0 that are loaded": {
        "net": INPUT + conv("") + RELU + ip() + LOSS,
        "weights": {"conv": [np.zeros((4, 3, 3, 3)), np.zeros(4)], "ip": [np.zeros((3, 144)), np.zeros(3)]}},
    "weights of 0 that the solver loads": solver(
        net=INPUT + conv("") + RELU + ip() + LOSS + ACCURACY, more='weights: "w.caffemodel"',
        weights={"conv": [np.zeros((4, 3, 3, 3)), np.zeros(4)], "ip": [np.zeros((3, 144)), np.zeros(3)]}, given=False),
    "statistics that are there": {
        "net": ONE_INPUT + CONV + NORM % "",
        "weights": {**stats(0, 1, 1), "conv": [np.zeros((4, 3, 3, 3))]}},
    "a training net whose test net is another file": {
        "net": DATA % ("", "", "crop_size: 4 mirror: true") + ip("x") + LOSS},
    "a label that is ignored": {
        "net": DATA % ("", "", "") + ip("x") + LOSS.replace("top:", "loss_param { ignore_label: 255 } top:", 1),
        "labels": [2, 255, 0, 1]},
    "shuffled": {"net": DATA % ("", "shuffle: true", "") + ip("x") + LOSS, "labels": [0, 0, 1, 1, 2]},
    "silenced": {"net": PLAIN + layer("Power", "c", "power") + layer("Silence", "power", "")},
    "a test of everything": solver(net=DATA % ("", "", "") + ip("x") + LOSS + ACCURACY, labels=[0, 2, 1, 2, 0, 1]),
    "the best weights, named after the file": {
        **solver(), "solver": SOLVER.replace('snapshot_prefix: "s"', "snapshot: 10") % ("fixed", "keep_best: true")},
    "a comma too many": solver(more='weights: ","'),
    "a rate of 1e-14": {**solver(), "solver": SOLVER.replace("0.1", "1e-14") % ("fixed", "momentum: 0.99")},
    "a rate that falls to 0 at the end": solver("poly", "power: 1"),
}  # fmt: skip


def write(folder, case):
    """Write the files of a case; the one to lint, and options of the linter."""
    options = {key: value for key, value in case.items() if key == "shapes"}
    if "labels" in case:
        with DatabaseWriter(folder / "db") as writer:
            for number, label in enumerate(case["labels"]):
                datum = Datum(channels=3, height=4, width=4, data=bytes(48), label=label)
                writer.put(str(number).encode(), datum.SerializeToString())
    if "list" in case:
        (folder / "list.txt").write_text("".join(f"{i}.png {label}\n" for i, label in enumerate(case["list"])))
    if "weights" in case:
        net = NetParameter()
        for name, arrays in case["weights"].items():
            net.layer.add(name=name, type="X", blobs=[blobproto.from_array(a.astype(np.float32)) for a in arrays])
        (folder / "w.caffemodel").write_bytes(net.SerializeToString())
        if case.get("given", True):
            options["weights"] = str(folder / "w.caffemodel")
    for name in ("net", "solver"):
        if name in case:
            (folder / f"{name}.prototxt").write_text(case[name])
    return folder / f"{'solver' if 'solver' in case else 'net'}.prototxt", options
