"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from pycaffe_lite.errors import CaffeError
from pycaffe_lite.formats.files import replacing, write_whole


def test_a_group_of_files_is_replaced_together_or_not_at_all(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), replacing(old, new) as (first, second):
        for path in (first, second):
            with open(path, "wb") as file:
                file.write(b"after")
        assert old.read_bytes() == b"before" and not new.exists()
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["old"] and old.read_bytes() == b"before"
    with replacing(old, new) as paths:
        for path in paths:
            with open(path, "wb") as file:
                file.write(b"after")
    assert sorted(os.listdir(tmp_path)) == ["new", "old"] and old.read_bytes() == new.read_bytes() == b"after"


def test_the_error_names_the_file_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(CaffeError, match="two: cannot be written: No space left on device"),
        replacing(tmp_path / "one", tmp_path / "two") as paths,
    ):
        raise OSError(28, "No space left on device", paths[1])
    assert os.listdir(tmp_path) == []


def test_new_files_may_be_read_by_whoever_may_read_new_files(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "ours", [b"a", memoryview(b"bc")])
    assert (tmp_path / "ours").read_bytes() == b"abc"
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]
