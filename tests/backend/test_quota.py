"""Threads follow what a container may use, not what it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycaffe_lite.backend.cpu import quota


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "own", "share"),
    [
        ({"cpu.max": "50000 100000"}, "0::/", 0.5),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1.5),
        ({"cpu.max": "200000 100000"}, "0::/docker/not-seen-from-here", 2.0),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n3:memory:/", None),
        ({}, "0::/", None),
        ({"cpu.max": "garbage"}, "nonsense", None),
    ],
)
def test_shares(tmp_path: Path, files: dict[str, str], own: str, share: float | None) -> None:
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert quota.quota(tmp_path / "groups", write(tmp_path / "own", own)) == share


def test_half_a_core_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "quota", lambda: 0.5)
    assert quota.processors() == 1


def test_no_share_is_above_the_processors_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "quota", lambda: None)
    count = quota.processors()
    monkeypatch.setattr(quota, "quota", lambda: 1000.0)
    assert quota.processors() == count >= 1


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"memory.max": "1000000"}, "0::/"),
        ({"memory.max": "max", "a/memory.max": "1000000"}, "0::/a"),
        ({"memory/memory.limit_in_bytes": "1000000"}, "9:memory:/"),
    ],
)
def test_a_containers_memory(tmp_path: Path, files: dict[str, str], own: str) -> None:
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert quota.memory(tmp_path / "groups", write(tmp_path / "own", own)) == 1000000


def test_the_machines_memory(tmp_path: Path) -> None:
    whole = quota.memory(tmp_path, tmp_path)
    assert whole is None or whole > 2**27
