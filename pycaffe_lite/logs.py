"""The package's logger. A record may carry Caffe's place in its source, which the command line prints as glog did."""

from __future__ import annotations

import logging

log = logging.getLogger("pycaffe_lite")


def tell(place: str, text: str) -> None:
    """An info line that Caffe logs too, from `place` (as "solver.cpp:87")."""
    log.info("%s", text, extra={"caffe": place})
