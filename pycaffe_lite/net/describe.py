"""How a net was built, in the lines that Caffe logs while it builds one."""

from __future__ import annotations

import logging
from typing import Any

from ..logs import log, tell
from ..proto import DataParameter, text

OPENED = {"LMDB": ("db_lmdb.cpp:35", "lmdb"), "LEVELDB": ("db_leveldb.cpp:18", "leveldb")}


def log_param(param: Any) -> None:
    """Log the net as its file says it, with the layers of its state, before Splits come in."""
    if log.isEnabledFor(logging.INFO):
        tell("net.cpp:51", "Initializing net from parameters: \n" + text.write_text(param).rstrip("\n"))


def log_net(net: Any) -> None:
    """Log layers, their blobs and shapes, memory, and which layers have a backward pass."""
    if not log.isEnabledFor(logging.INFO):
        return
    total = 0
    for node in net.graph.nodes:
        name = node.layer.name
        tell("layer_factory.hpp:77", f"Creating layer {name}")
        if node.layer.type == "Data":
            place, kind = OPENED[DataParameter.DB.Name(node.layer.param.backend)]
            tell(place, f"Opened {kind} {node.layer.param.source}")
        tell("net.cpp:84", f"Creating Layer {name}")
        for bottom in node.bottom_names:
            tell("net.cpp:406", f"{name} <- {bottom}")
        for index, top in enumerate(node.top_names):
            in_place = index < len(node.bottom_names) and node.bottom_names[index] == top
            tell("net.cpp:367" if in_place else "net.cpp:380", f"{name} -> {top}{' (in-place)' if in_place else ''}")
        if node.layer.type == "Data":
            tell("data_layer.cpp:45", f"output data size: {','.join(map(str, node.top[0].shape))}")
        tell("net.cpp:122", f"Setting up {name}")
        for top, weight in zip(node.top, node.loss_weights):
            tell("net.cpp:129", f"Top shape: {' '.join([*map(str, top.shape), f'({top.count})'])}")
            if weight:
                tell("net.cpp:132", f"    with loss weight {weight:g}")
            total += top.count
        tell("net.cpp:137", f"Memory required for data: {total * net.graph.dtype.itemsize}")
    for node in reversed(net.graph.nodes):
        verdict = ("198", "needs") if node.needs_backward else ("200", "does not need")
        tell(f"net.cpp:{verdict[0]}", f"{node.layer.name} {verdict[1]} backward computation.")
    for name in net.outputs:
        tell("net.cpp:242", f"This network produces output {name}")
    tell("net.cpp:255", "Network initialization done.")
