"""Training on a GPU, emulated or real: what the CPU computes, captured or not, resumed or not, with few copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu

from pycaffe_lite import device as devices
from pycaffe_lite.backend.gpu.device import CupyGpu
from pycaffe_lite.data import mnist, synthetic_digits
from pycaffe_lite.errors import DataError
from pycaffe_lite.net.net import Net
from pycaffe_lite.net.plan import lifetimes
from pycaffe_lite.proto import NetParameter, SolverParameter, caffe_pb2, upgrade
from pycaffe_lite.solver.report import Report
from pycaffe_lite.solver.solver import Solver, TrainingError

MODELS = Path(__file__).resolve().parents[2] / "models" / "lenet"
BATCH = 8


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with databases of 100 + 40 synthetic digits, and LeNet with a small batch."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = synthetic_digits.render(140, seed=1)
    mnist.write_database(folder / "mnist_train_lmdb", mnist.Digits(images[:100], labels[:100]))
    mnist.write_database(folder / "mnist_test_lmdb", mnist.Digits(images[100:], labels[100:]))
    return folder


def solver_of(folder: Path, slim: bool = True, share_memory: bool = False, **fields: object) -> Solver:
    """LeNet's solver with fields changed; its net has small batches, and a Dropout layer behind ip1.

    A slim one has a tenth of the channels: emulated threads take their time.
    """
    param = upgrade.read_solver(MODELS / "lenet_solver.prototxt")
    model, layers = NetParameter(), upgrade.read_net(MODELS / "lenet_train_test.prototxt").layer
    for layer in layers:
        if layer.type == "Data":
            layer.data_param.source = str(folder / Path(layer.data_param.source).name)
            layer.data_param.batch_size = BATCH
        elif slim and layer.type == "Convolution":
            layer.convolution_param.num_output //= 10
        elif slim and layer.name == "ip1":
            layer.inner_product_param.num_output //= 10
        model.layer.append(layer)
        if layer.name == "relu1":
            model.layer.add(name="drop", type="Dropout", bottom=["ip1"], top=["ip1"])
    for field in ("net", "test_iter", "snapshot"):
        param.ClearField(field)
    given = {"random_seed": 3, "test_iter": [2], "test_interval": 1000, "snapshot_after_train": False} | fields
    param.MergeFrom(SolverParameter(net_param=model, **given))
    return Solver(param, share_memory=share_memory)


def losses(solver: Solver, iterations: int) -> list[float]:
    return [solver.step(1) for _ in range(iterations)]


def weights(solver: Solver) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]


@pytest.fixture
def gpu(device):
    """Every device but the CPU."""
    if device is devices.CPU:
        pytest.skip("that is what the others are compared with")
    return device


@pytest.mark.parametrize(
    "fields", [{}, {"type": "Adam", "base_lr": 0.001, "momentum2": 0.99, "iter_size": 2, "clip_gradients": 1.0}]
)
def test_lenet_trains_as_on_the_cpu(digits, gpu, fields):
    here = solver_of(digits, slim=False, **fields)
    with devices.using(devices.CPU):
        there = solver_of(digits, slim=False, **fields)
    assert here.net.device is gpu and there.net.device is devices.CPU
    assert losses(here, 5) == pytest.approx(losses(there, 5), rel=1e-4)
    for mine, wanted in zip(weights(here), weights(there)):
        np.testing.assert_allclose(mine, wanted, atol=2e-4)
    tested = [solver.test_nets[0].run_forward() for solver in (here, there)]
    assert tested[0] == pytest.approx(tested[1], rel=1e-3)


def test_captured_and_eager_runs_are_the_same_bits(digits, gpu, monkeypatch):
    results = []
    for captures in (True, False):
        monkeypatch.setattr(gpu, "captures", captures)
        solver = solver_of(digits)
        results.append((losses(solver, 5), weights(solver)))
    assert results[0][0] == results[1][0]
    assert all(np.array_equal(a, b) for a, b in zip(results[0][1], results[1][1]))


def test_a_stopped_run_goes_on_bit_for_bit(digits, gpu, tmp_path):
    prefix = str(tmp_path / "lenet")
    whole = solver_of(digits, snapshot_prefix=prefix, ema_decay=0.5)
    losses(whole, 3)
    state = whole.snapshot()
    rest = losses(whole, 3)
    resumed = solver_of(digits, snapshot_prefix=prefix, ema_decay=0.5, random_seed=8)
    resumed.restore(state)
    assert losses(resumed, 3) == rest
    assert all(np.array_equal(a, b) for a, b in zip(weights(resumed), weights(whole)))


def test_a_wrong_label_is_named(digits, gpu):
    solver = solver_of(digits)
    solver.step(1)
    solver.net.blobs["label"].data[...] = 11
    with pytest.raises(DataError, match=r"label 11 .* outside the 10 classes"):
        solver.net.forward(start="conv1")
    solver.step(1)


@pytest.fixture
def emulated():
    """An emulated GPU of the test's own."""
    if not COMPILER:
        pytest.skip("no g++, which the emulated GPU compiles with")
    gpu = EmulatedGpu()
    with devices.using(gpu):
        yield gpu


BATCH_IN = [("behind", BATCH * 28 * 28), ("behind", BATCH)]


def test_between_displays_nothing_moves_but_batches(digits, emulated):
    solver = solver_of(digits, display=4)
    solver.step(1)

    def stop_watching():
        moved.append(emulated.moved.copy())
        emulated.moved.clear()
        return "none"

    moved: list = []
    solver.action = stop_watching
    emulated.moved.clear()
    solver.step(8)
    assert moved[0] == [("in", 8 * 9), ("in", 1), *BATCH_IN]  # the numbers of the iterations to come, and the first
    assert moved[1] == moved[2] == BATCH_IN
    assert moved[3] == [*BATCH_IN, ("out", 4), ("out", 2), ("out", 1)], "and losses, faults, and the loss displayed"
    assert moved[4] == [("in", 4 * 9), ("in", 1), *BATCH_IN] and moved[5] == moved[6] == BATCH_IN


def test_an_iteration_is_one_graph(digits, emulated):
    solver = solver_of(digits)
    solver.step(3)
    (script,) = solver.iterations._scripts.values()
    (piece,) = script.pieces
    assert piece.chain.graph is not None and len(piece.chain) == len(piece.chain.graph.noted)
    accumulating = solver_of(digits, iter_size=3)
    accumulating.step(3)
    graphs = [piece.chain for script in accumulating.iterations._scripts.values() for piece in script.pieces]
    assert len(graphs) == 3 and all(chain.graph for chain in graphs)


def test_a_test_moves_batches_in_and_its_sums_out(digits, emulated):
    solver = solver_of(digits, test_iter=[5])
    solver.test(0)
    emulated.moved.clear()
    solver.test(0)
    assert [move for move in emulated.moved if move[0] == "behind"] == 5 * BATCH_IN
    (piece,) = solver.tallies[0]._script.pieces
    assert piece.chain.graph is not None
    out = [move for move in emulated.moved if move[0] == "out"]
    assert out == [("out", 3), ("out", 1), ("out", 1), ("out", 1)], "faults, accuracy and loss, and loss for its mean"


@pytest.mark.parametrize("fields", [{}, {"iter_size": 2}])
def test_a_loss_that_is_no_number_stops_updates_at_once(digits, gpu, fields):
    solver = solver_of(digits, display=10, **fields)
    solver.step(2)
    states = iter(range(100))
    solver.action = lambda: poison(solver) if next(states) == 1 else "none"
    with pytest.raises(TrainingError, match=r"iteration 4: the loss is nan; .* in parameter 1 of layer 'ip2'"):
        solver.step(9)
    assert solver.iter == 4
    assert np.isfinite(solver.net.params["conv1"][0].data).all()


def poison(solver: Solver) -> str:
    solver.net.params["ip2"][1].data[0] = np.nan
    return "none"


def test_labels_that_are_computed_keep_their_place_until_a_wrong_one_is_told(digits, gpu):
    param = solver_of(digits).net.param
    param.layer.add(name="same", type="Power", bottom=["label"], top=["target"])
    (loss,) = (layer for layer in param.layer if layer.type == "SoftmaxWithLoss")
    loss.bottom[1] = "target"
    layers = sorted(param.layer, key=lambda layer: layer.type != "Data" and layer.name != "same")
    graph = Net.from_proto(NetParameter(layer=layers, state={"phase": caffe_pb2.TRAIN}), share_memory=True).graph
    life = {buffer.memory: buffer for buffer in lifetimes(graph)}
    target = life[graph.blobs["target"].data_memory.root]
    assert (target.first, target.last) == (0, 2 * len(graph.nodes))


@pytest.mark.parametrize("share_memory", [False, True])
def test_a_wrong_label_is_named_when_its_batch_is_long_gone(digits, gpu, share_memory):
    solver = solver_of(digits, display=10, share_memory=share_memory)
    solver.step(1)
    stream = solver.net.layers[0].stream()
    honest, batches = stream.next, iter(range(100))

    def spoilt():
        batch = honest()
        if next(batches) == 3:
            batch.labels[5] = 12
        return batch

    stream.next = spoilt
    kept = weights(solver)
    with pytest.raises(DataError, match=r"label 12 \(number 5 in the batch\)"):
        solver.step(9)
    assert solver.iter == 4
    assert not all(np.array_equal(a, b) for a, b in zip(weights(solver), kept))


@pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")
class TestDataKeptOnTheDevice:
    """100 digits in batches of 8: some batches begin at the end of the database and go on at its beginning."""

    @pytest.fixture(autouse=True)
    def keeping(self):
        self.gpu = EmulatedGpu(most_kept_data=1 << 20)
        with devices.using(self.gpu):
            yield

    def test_batches_are_those_of_the_cpu_and_nothing_moves(self, digits):
        here = solver_of(digits, display=40)
        with devices.using(EmulatedGpu()):
            there = solver_of(digits, display=40)
        assert here.step(2) == there.step(2)
        self.gpu.moved.clear()
        here.step(14)
        there.step(14)
        assert [way for way, _ in self.gpu.moved] == ["in", "in", "out", "out"], "rates, a counter; losses, faults"
        for blob in ("data", "label"):
            np.testing.assert_array_equal(here.net.blobs[blob].data, there.net.blobs[blob].data)
        assert all(np.array_equal(a, b) for a, b in zip(weights(here), weights(there)))
        assert here.net.memory_bytes["data"] == 100 * (28 * 28 + 1) * 4

    def test_a_run_goes_on_where_it_stopped(self, digits, tmp_path):
        whole = solver_of(digits, snapshot_prefix=str(tmp_path / "lenet"))
        whole.step(14)
        state = whole.snapshot()
        wanted = losses(whole, 3)
        with devices.using(EmulatedGpu()):  # and elsewhere too
            streamed = solver_of(digits, random_seed=8)
        for resumed in (solver_of(digits, random_seed=8), streamed):
            resumed.restore(state)
            assert losses(resumed, 3) == wanted

    def test_a_wrong_label_is_named(self, digits):
        solver = solver_of(digits, display=10)
        solver.net.layers[0].entries[1][20] = 77
        with pytest.raises(DataError, match=r"label 77 \(number 4 in the batch\)"):
            solver.step(9)
        assert solver.iter == 2

    @pytest.mark.parametrize("change", ["shuffle", "size", "crop"])
    def test_what_cannot_be_kept_is_streamed(self, digits, change):
        param = upgrade.read_net(MODELS / "lenet_train_test.prototxt")
        del param.layer[1:]
        (data,) = param.layer
        data.data_param.source = str(digits / "mnist_train_lmdb")
        if change == "shuffle":
            data.data_param.shuffle = True
        elif change == "crop":
            data.transform_param.crop_size = 20
        else:
            self.gpu.most_kept_data = 100 * 28 * 28 * 4 - 1
        param.state.phase = 0
        net = Net.from_proto(param)
        net.run_forward()
        net.layers[0].stream().everything = None  # is asked once
        net.reshape()
        assert net.layers[0].on_host and "data" not in net.memory_bytes
        assert [way for way, _ in self.gpu.moved if way == "behind"] == ["behind"] * 2


def test_a_wrong_label_in_a_test_is_named(digits, gpu):
    solver = solver_of(digits)
    solver.test(0)
    stream = solver.test_nets[0].layers[0].stream()
    honest = stream.next

    def spoilt():
        batch = honest()
        batch.labels[2] = 10
        return batch

    stream.next = spoilt
    with pytest.raises(DataError, match=r"label 10 \(number 2 in the batch\)"):
        solver.test(0)


class Listening(Report):
    def __init__(self, patience: float):
        self.patience, self.heard = patience, []

    def iteration(self, iteration, loss, rate):
        self.heard.append(iteration)


@pytest.mark.parametrize("patience, heard", [(-1.0, [1, 2, 3]), (1e9, [0, 0, 0])])
def test_reports_hear_of_iterations_as_late_as_they_bear(digits, emulated, patience, heard):
    solver, report, lengths = solver_of(digits, display=0, test_initialization=False), Listening(patience), []
    solver.report.all[:] = [report]
    solver.action = lambda: lengths.append(len(report.heard)) or "none"
    solver.step(4)
    assert lengths[:3] == heard and report.heard == [0, 1, 2, 3]


def test_a_snapshot_on_the_way_knows_all_losses(digits, emulated, tmp_path):
    fields = {"average_loss": 3, "snapshot_prefix": str(tmp_path / "lenet")}
    whole = solver_of(digits, snapshot=4, **fields)
    whole.step(6)
    resumed = solver_of(digits, **fields)
    resumed.restore(tmp_path / "lenet_iter_4.solverstate")
    resumed.step(2)
    assert resumed.smoothed_loss.state() == whole.smoothed_loss.state()


def test_lenets_step_has_few_nodes(nvidia):
    """On a graph as small as LeNet's their number decides the time; whoever adds one should know."""
    folder = MODELS.parent / "lenet"
    net = upgrade.read_net(folder / "lenet_train_test.prototxt")
    for layer in net.layer:
        if layer.type == "Data":
            layer.type = "Input"
            layer.input_param.shape.add(dim=[64, 1, 28, 28])
            layer.input_param.shape.add(dim=[64])
    with devices.using(CupyGpu()):
        solver = Solver(SolverParameter(net_param=net, base_lr=0.01, momentum=0.9, lr_policy="fixed"))
    solver.step(1)
    told = solver.iterations.told
    assert [name for name, _ in told].count("note_loss") == 1 and told[-1][0] == "sgd_update"
    assert len(told) <= 28
    assert sum(size for _, size in told) < 45e6, "bytes of all arrays that the nodes touch"
