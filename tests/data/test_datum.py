"""Datums of every kind to arrays and labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from datums import image_datum

from pycaffe_lite.data.datum import decode_alike, decode_datum
from pycaffe_lite.data.images import decode_image
from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import Datum


def test_raw_bytes() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    pixels, label, key = decode_datum(b"k", image_datum(image, label=-7).SerializeToString())
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, image)
    assert (label, key) == (-7, b"k")


def test_floats() -> None:
    datum = Datum(channels=3, height=1, width=2, float_data=[1, 2, 3, -4.5, 5, 6], label=3)
    pixels, label, _ = decode_datum(b"k", datum.SerializeToString())
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.float32([1, 2, 3, -4.5, 5, 6]).reshape(3, 1, 2))
    assert label == 3


def test_floats_beside_bytes_are_the_label() -> None:
    datum = image_datum(np.zeros((1, 2, 2), np.uint8), label=1)
    datum.float_data[:] = [0.5, 0.25]
    np.testing.assert_array_equal(decode_datum(b"k", datum.SerializeToString()).label, [0.5, 0.25])


@pytest.mark.parametrize(
    ("datum", "message"),
    [
        (
            Datum(channels=1, height=2, width=2, data=b"abc"),
            r"entry 'k': holds 3 bytes, but its shape .* \(1, 2, 2\)",
        ),
        (Datum(channels=1, height=2, width=2, float_data=[1]), "holds 1 floats"),
        (Datum(label=4), "holds 0 floats"),
        (Datum(channels=-1, height=-1, width=4, data=b"abcd"), r"is \(-1, -1, 4\)"),
    ],
)
def test_wrong_sizes(datum: Datum, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_datum(b"k", datum.SerializeToString())


def test_not_a_datum() -> None:
    with pytest.raises(DataError, match="entry 'k': not a Datum"):
        decode_datum(b"k", b"\xff\xff\xff\xff")


def test_all_at_once_is_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)

    def entries(*labels: int, **fields: object) -> list[tuple[bytes, bytes]]:
        datums = [image_datum(rng.integers(0, 256, (3, 5, 11), np.uint8), label) for label in labels]
        for name, value in fields.items():
            setattr(datums[-1], name, value)
        return [(b"%d" % n, datum.SerializeToString()) for n, datum in enumerate(datums)]

    alike = entries(0, 5, 127)
    samples = decode_alike(alike, (3, 5, 11))
    assert samples is not None
    for (key, value), pixels, label, same_key in zip(alike, *samples, strict=True):
        np.testing.assert_array_equal(pixels, decode_datum(key, value).pixels)
        assert (label, same_key) == (decode_datum(key, value).label, key)

    assert decode_alike(alike, (5, 3, 11)) is None
    assert decode_alike(entries(1, 128), (3, 5, 11)) is None
    assert decode_alike(entries(1, -1), (3, 5, 11)) is None
    assert decode_alike(entries(1, 2, encoded=True), (3, 5, 11)) is None
    assert decode_alike(entries(1, 2, channels=5, height=3), (3, 5, 11)) is None
    # The same number of bytes, but the last two are another field or part of a longer label.
    for end in (b"\x38\x01", b"\x28\x80"):
        assert decode_alike([(key, value[:-2] + end) for key, value in alike], (3, 5, 11)) is None


class TestImages:
    """Compressed images; these need Pillow."""

    @pytest.fixture(autouse=True)
    def _pillow(self) -> None:
        pytest.importorskip("PIL.Image", reason="decoding images needs Pillow")

    @staticmethod
    def encode(pixels: np.ndarray, mode: str, kind: str = "PNG", **options: object) -> bytes:
        from PIL import Image

        out = io.BytesIO()
        image = Image.fromarray(pixels)
        image = image.convert(mode) if image.mode != mode else image
        image.save(out, kind, **options)
        return out.getvalue()

    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)

    def test_color_is_bgr_planes(self) -> None:
        np.testing.assert_array_equal(decode_image(self.encode(self.rgb, "RGB")), self.rgb.transpose(2, 0, 1)[::-1])

    def test_gray(self) -> None:
        gray = self.rgb[:, :, 0]
        encoded = self.encode(gray, "L")
        np.testing.assert_array_equal(decode_image(encoded), gray[None])
        np.testing.assert_array_equal(decode_image(encoded, color=True), np.stack([gray] * 3))

    def test_forced_gray(self) -> None:
        expected = self.rgb @ [0.299, 0.587, 0.114]
        assert np.abs(decode_image(self.encode(self.rgb, "RGB"), color=False)[0] - expected).max() <= 1
        assert decode_image(self.encode(self.rgb, "RGB", "JPEG"), color=False).shape == (1, 5, 7)

    def test_other_modes(self) -> None:
        assert decode_image(self.encode(self.rgb, "RGBA")).shape == (4, 5, 7)
        assert decode_image(self.encode(self.rgb, "RGBA"), color=True).shape == (3, 5, 7)
        assert decode_image(self.encode(self.rgb, "P")).shape == (3, 5, 7)
        assert set(np.unique(decode_image(self.encode(self.rgb, "1")))) <= {0, 255}

    def test_refused(self) -> None:
        with pytest.raises(DataError, match="8 bits per channel"):
            decode_image(self.encode(self.rgb[:, :, 0].astype(np.uint16), "I;16"))
        with pytest.raises(DataError, match="not an image"):
            decode_image(b"not an image at all")
        with pytest.raises(DataError, match="not an image"):
            decode_image(self.encode(self.rgb, "RGB")[:-30])

    def test_encoded_datum(self) -> None:
        datum = Datum(data=self.encode(self.rgb, "RGB"), encoded=True, label=2)
        pixels, label, _ = decode_datum(b"k", datum.SerializeToString())
        assert (pixels.shape, label) == ((3, 5, 7), 2)
        assert decode_datum(b"k", datum.SerializeToString(), color=False).pixels.shape == (1, 5, 7)
        datum.data = datum.data[:20]
        with pytest.raises(DataError, match="entry 'k': not an image"):
            decode_datum(b"k", datum.SerializeToString())


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match="pip install Pillow"):
        decode_image(b"")
