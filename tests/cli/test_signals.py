"""Ctrl-C and a hang-up: stop in good order, snapshot, or nothing, as the options say."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from pycaffe_lite.cli.signals import Signals


def training(start, path: str, *options: str):
    """A training that would take for ever, once its first iterations are done."""
    process = start("train", "--solver", path, *options)
    read_until(process, "Iteration 100 ")
    return process


def read_until(process, text: str) -> str:
    """What it logs, up to and with the first line that holds this text."""
    seen = ""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    for line in process.stderr:
        seen += line
        if text in line:
            break
    else:
        raise AssertionError(f"the log ended before {text!r}:\n{seen}")
    watchdog.cancel()
    return seen


def finished(process) -> tuple[int, str]:
    log = process.communicate(timeout=60)[1]
    return process.returncode, log


FOREVER = "max_iter: 1000000000 display: 100"


def states() -> list[int]:
    return sorted(int(re.search(r"_(\d+)\.", p.name)[1]) for p in Path().glob("s_iter_*.solverstate"))


@pytest.mark.parametrize(
    "number, options",
    [
        (signal.SIGINT, []),
        (signal.SIGINT, ["--sigint-effect=stop"]),
        (signal.SIGHUP, ["-sighup_effect=stop"]),
    ],
)
def test_stop_writes_a_snapshot_and_ends_well(noise, start, number, options):
    process = training(start, noise(FOREVER), *options)
    process.send_signal(number)
    status, log = finished(process)
    assert status == 0
    lines = [line.split("] ", 1)[1] for line in log.splitlines()[-4:]]
    assert re.fullmatch(r"Snapshotting to binary proto file s_iter_(\d+)\.caffemodel", lines[0])
    assert lines[2:] == ["Optimization stopped early.", "Optimization Done."]
    assert len(states()) == 1


@pytest.mark.parametrize(
    "number, options", [(signal.SIGHUP, []), (signal.SIGINT, ["--sigint-effect=snapshot", "--sighup-effect=stop"])]
)
def test_snapshot_writes_one_and_goes_on(noise, start, number, options):
    process = training(start, noise(FOREVER), *options)
    process.send_signal(number)
    read_until(process, "Snapshotting solver state")
    read_until(process, "Iteration ")
    assert process.poll() is None and len(states()) == 1
    process.send_signal(signal.SIGINT if number == signal.SIGHUP else signal.SIGHUP)
    assert finished(process)[0] == 0
    assert len(states()) == 2


def test_none_is_not_even_noticed(noise, start):
    process = training(start, noise(FOREVER), "--sigint-effect=none", "--sighup-effect=none")
    for number in (signal.SIGINT, signal.SIGHUP) * 2:
        process.send_signal(number)
    log = read_until(process, "Iteration ") + read_until(process, "Iteration ")
    assert "Snapshotting" not in log and process.poll() is None and states() == []


def test_a_test_is_interrupted_too(noise, start):
    path = noise("max_iter: 1000000000 display: 100 test_iter: 1000000000 test_interval: 100")
    process = start("train", "--solver", path)
    read_until(process, "Testing net (#0)")
    process.send_signal(signal.SIGINT)
    status, log = finished(process)
    assert status == 0 and "Test interrupted." in log and "Optimization stopped early." in log
    assert states() == [0]


def test_while_the_net_is_built_ctrl_c_ends_at_once(noise, start):
    fifo = noise() and "pipe.prototxt"
    os.mkfifo(fifo)  # a net that never comes
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace("net.prototxt", fifo))
    process = start("train", "--solver", "solver.prototxt")
    read_until(process, "Initializing solver")
    process.send_signal(signal.SIGINT)
    status, log = finished(process)
    assert status == 130 and log.strip().endswith("caffe-lite train: interrupted") and "Traceback" not in log


def test_a_training_that_nobody_listens_to_any_more_ends(noise, start):
    """As in `caffe-lite train ... 2>&1 | head`."""
    process = training(start, noise(FOREVER))
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_a_snapshot_does_not_undo_a_stop():
    with Signals("stop", "snapshot") as signals:
        send(signal.SIGINT, signal.SIGHUP)
        assert (signals.action(), signals.action()) == ("stop", "none")


def test_the_second_ctrl_c_ends_at_once():
    with Signals("stop", "snapshot"):
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_other_effects_may_be_asked_for_again_and_again():
    with Signals("snapshot", "none") as signals:
        for _ in range(3):
            send(signal.SIGINT, signal.SIGHUP)
            assert (signals.action(), signals.action()) == ("snapshot", "none")


def test_afterwards_signals_do_what_they_did_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with pytest.raises(ZeroDivisionError), Signals("none", "none"):
        assert signal.getsignal(signal.SIGINT) != before[0]
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before
