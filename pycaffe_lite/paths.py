"""Where a file named in a prototxt is."""

from __future__ import annotations

import os


def find_path(path: str, folder: str) -> str:
    """The path as it is (relative to where one is, as in Caffe), or else relative to the prototxt's folder."""
    if not folder or os.path.exists(path) or os.path.isabs(path):
        return path
    beside = os.path.join(folder, path)
    return beside if os.path.exists(beside) else path
