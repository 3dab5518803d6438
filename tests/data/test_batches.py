"""The Data layer's stream of batches: Caffe's own results, order, position, shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datums import WriteDatabase, image_datum
from google.protobuf import text_format

from pycaffe_lite.data import entries
from pycaffe_lite.data.batches import DatabaseBatches
from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.proto import TEST, TRAIN, DataParameter, Datum, NetParameter, TransformationParameter

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 3, 6, 7), np.uint8)


@pytest.fixture
def ten(write_database: WriteDatabase) -> str:
    """Ten random images labelled 0 to 9."""
    return write_database(image_datum(image, label) for label, image in enumerate(IMAGES))


def batches(
    source: str,
    batch_size: int = 4,
    phase: int = TRAIN,
    seed: int | None = 1,
    transform: str = "",
    **fields: object,
) -> DatabaseBatches:
    param = DataParameter(source=source, backend="LMDB", batch_size=batch_size, **fields)
    return DatabaseBatches(param, text_format.Parse(transform, TransformationParameter()), phase, seed)


def labels(source: DatabaseBatches, count: int) -> list[int]:
    return [int(label) for _ in range(count) for label in source.next().labels]


@pytest.mark.parametrize(
    "name",
    [
        "lmdb_plain",
        "lmdb_gray",
        "lmdb_mean_scale",
        "lmdb_mean_value_crop",
        "lmdb_mean_file_crop",
        "leveldb_encoded",
    ],
)
def test_same_as_caffe(golden: Path, name: str) -> None:
    if name == "leveldb_encoded":
        pytest.importorskip("PIL.Image", reason="decoding images needs Pillow")
    net = text_format.Parse((golden / f"{name}.prototxt").read_text(), NetParameter())
    source = DatabaseBatches(net.layer[0].data_param, net.layer[0].transform_param, TEST, seed=0)
    expected = np.load(golden / f"{name}.npz")
    for number in range(4):
        batch = source.next()
        assert batch.data.shape == source.batch_shape
        np.testing.assert_allclose(batch.data, expected[f"data{number}"], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(batch.labels, expected[f"label{number}"])
    source.close()


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_wraps_round(ten: str, prefetch: int) -> None:
    source = batches(ten, prefetch=prefetch)
    assert len(source) == 10
    assert labels(source, 5) == [*range(10), *range(10)]
    assert source.epoch == 2
    batch = source.next()
    np.testing.assert_array_equal(batch.data, IMAGES[:4])
    assert batch.keys == [b"00000000", b"00000001", b"00000002", b"00000003"]
    source.close()


def test_batch_larger_than_the_database(ten: str) -> None:
    source = batches(ten, batch_size=25)
    assert labels(source, 1) == [*range(10), *range(10), *range(5)]


def test_shuffle_visits_each_entry_once_an_epoch(ten: str) -> None:
    seen = np.array(labels(batches(ten, shuffle=True), 10)).reshape(4, 10)
    assert (np.sort(seen) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in seen}) == 4
    assert labels(batches(ten, shuffle=True), 10) == seen.ravel().tolist()
    assert labels(batches(ten, shuffle=True, seed=2), 10) != seen.ravel().tolist()
    first = batches(ten, shuffle=True).next()
    np.testing.assert_array_equal(first.data, IMAGES[first.labels.astype(int)])


def test_rand_skip_starts_somewhere(ten: str) -> None:
    starts = {labels(batches(ten, rand_skip=3, seed=seed), 1)[0] for seed in range(30)}
    assert starts == {0, 1, 2}


def test_without_a_seed_runs_differ(ten: str) -> None:
    assert batches(ten, seed=None).state()["seed"] != batches(ten, seed=None).state()["seed"]


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("cache_limit", [0, 1 << 20])
def test_resumes_exactly(ten: str, monkeypatch: pytest.MonkeyPatch, prefetch: int, cache_limit: int) -> None:
    monkeypatch.setattr(entries, "CACHE_LIMIT", cache_limit)
    options = {
        "transform": "mirror: true crop_size: 4",
        "shuffle": True,
        "rand_skip": 5,
        "prefetch": prefetch,
    }
    straight = batches(ten, **options)
    whole = [straight.next().data.copy() for _ in range(12)]

    stopped = batches(ten, **options)
    for _ in range(5):
        stopped.next()
    state = stopped.state()
    assert state == {"seed": 1, "sample": 20}
    stopped.close()

    resumed = batches(ten, **{**options, "seed": 99})
    resumed.next()
    resumed.restore(state)
    for expected in whole[5:]:
        np.testing.assert_array_equal(resumed.next().data, expected)
    assert resumed.state() == straight.state()

    resumed.restore({"seed": 1, "sample": 0})
    np.testing.assert_array_equal(resumed.next().data, whole[0])


def test_resumes_with_another_batch_size(ten: str) -> None:
    source = batches(ten, batch_size=3)
    source.restore({"seed": 1, "sample": 8})
    assert labels(source, 1) == [8, 9, 0]


def test_next_into(ten: str) -> None:
    source = batches(ten)
    data, label = np.zeros(source.batch_shape, np.float32), np.zeros(source.label_shape, np.float32)
    assert source.next_into(data, label)[1] == b"00000001"
    np.testing.assert_array_equal(data, IMAGES[:4])
    np.testing.assert_array_equal(label, [0, 1, 2, 3])
    source.next_into(data)
    np.testing.assert_array_equal(data, IMAGES[4:8])
    with pytest.raises(DataError, match=r"data are of shape \(4, 3, 6, 7\), the net's array of \(4, 3, 6, 1\)"):
        source.next_into(np.zeros((4, 3, 6, 1), np.float32))


def test_train_and_test_net_share_a_database(ten: str) -> None:
    train, test = batches(ten, phase=TRAIN), batches(ten, phase=TEST)
    assert labels(train, 2) == labels(test, 2)
    train.close()
    assert labels(test, 1) == [8, 9, 0, 1]


class TestImagesOfSeveralSizes:
    """Raw datums whose shapes differ; the first four are alike, the cache is given up after them."""

    @pytest.fixture
    def mixed(self, write_database: WriteDatabase) -> str:
        sizes = [(5, 5)] * 4 + [(7, 6), (5, 9)]
        self.images = [RNG.integers(0, 256, (3, *size), np.uint8) for size in sizes]
        return write_database(image_datum(image, label) for label, image in enumerate(self.images))

    def test_each_batch_takes_the_shape_of_its_first(self, mixed: str) -> None:
        source = batches(mixed, batch_size=1)
        for image in self.images * 2:
            np.testing.assert_array_equal(source.next().data, image[None])

    def test_in_one_batch_they_are_refused(self, mixed: str) -> None:
        source = batches(mixed, batch_size=2)
        source.next()
        source.next()
        message = r"entry '00000004' has \(3, 7, 6\) and '00000005' \(3, 5, 9\); use crop_size"
        with pytest.raises(DataError, match=message):
            source.next()

    def test_cropping_makes_them_equal(self, mixed: str) -> None:
        source = batches(mixed, batch_size=6, phase=TEST, transform="crop_size: 5")
        expected = [*self.images[:4], self.images[4][:, 1:6, :5], self.images[5][:, :, 2:7]]
        for _ in range(2):
            np.testing.assert_array_equal(source.next().data, expected)

    def test_a_crop_too_large_for_a_later_image(self, write_database: WriteDatabase) -> None:
        path = write_database(image_datum(np.zeros((1, size, size), np.uint8)) for size in (8, 3))
        with pytest.raises(ConfigError, match="must fit the image"):
            batches(path, batch_size=2, transform="crop_size: 5").next()


class TestFloats:
    """Float images, as extract_features writes them, and labels of floats."""

    def test_images(self, write_database: WriteDatabase) -> None:
        values = RNG.normal(size=(3, 8)).astype(np.float32)
        datums = [Datum(channels=8, height=1, width=1, float_data=row) for row in values]
        batch = batches(write_database(datums), batch_size=3, transform="scale: 2").next()
        np.testing.assert_array_equal(batch.data, 2 * values.reshape(3, 8, 1, 1))

    def test_golden(self, golden: Path) -> None:
        assert batches(str(golden / "features_lmdb"), batch_size=2).next().data.dtype == np.float32

    @pytest.mark.parametrize("cache_limit", [0, 1 << 20])
    def test_labels(self, write_database: WriteDatabase, monkeypatch: pytest.MonkeyPatch, cache_limit: int) -> None:
        monkeypatch.setattr(entries, "CACHE_LIMIT", cache_limit)
        datums = [image_datum(IMAGES[n]) for n in range(3)]
        for number, datum in enumerate(datums):
            datum.float_data[:] = [number, number + 0.5]
        source = batches(write_database(datums), batch_size=2, prefetch=0)
        assert source.label_shape == (2, 2)
        np.testing.assert_array_equal(source.next().labels, [[0, 0.5], [1, 1.5]])
        np.testing.assert_array_equal(source.next().labels, [[2, 2.5], [0, 0.5]])

        datums[1].float_data.append(7)
        source = batches(write_database(datums), batch_size=2)
        with pytest.raises(DataError, match=r"entry '00000000' has \(2,\) and '00000001' \(3,\)"):
            source.next()


def test_broken_entry_is_named(write_database: WriteDatabase) -> None:
    datums = [image_datum(IMAGES[0]), Datum(channels=3, height=6, width=7, data=b"short")]
    path = write_database(datums)
    with pytest.raises(DataError, match=f"{path}: entry '00000001': holds 5 bytes"):
        batches(path, batch_size=2).next()


def test_configuration(ten: str) -> None:
    with pytest.raises(ConfigError, match=r"data_param\.source: must name a database"):
        batches("")
    with pytest.raises(ConfigError, match=r"data_param\.batch_size: must be at least 1"):
        batches(ten, batch_size=0)
    with pytest.raises(ConfigError, match="crop_size: must fit"):
        batches(ten, transform="crop_size: 8")
    with pytest.raises(DataError, match="set backend: LMDB"):
        DatabaseBatches(DataParameter(source=ten, batch_size=1), TransformationParameter(), TRAIN)
