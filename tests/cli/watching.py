"""What commands write, read back: logs by the kinds of their lines, and terminals."""

from __future__ import annotations

import os
import pty
import re

PREFIX = re.compile(r"^[IW]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ (\S+:\d+)\] (.*)$")
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]\d+)?")


def kinds(log: str) -> set[tuple[str, str]]:
    """The kinds of lines of a log: their place in Caffe's source, and their text without numbers."""
    lines = (PREFIX.match(line) for line in log.splitlines())
    return {(m[1], NUMBER.sub("#", m[2])) for m in lines if m}


def on_a_terminal(start, *arguments: str) -> tuple[int, str]:
    """Exit status, and all that the command wrote to a terminal of its own."""
    ours, theirs = pty.openpty()
    process = start(*arguments, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return process.wait(timeout=60), written.decode()


def plain(shown: str) -> str:
    """What was written to a terminal, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", shown)
