"""Pictures of nets, with pycaffe's names: layers are boxes, blobs are octagons, and data flows along the arrows.

Text for Graphviz needs nothing else. Pictures need Graphviz's program `dot`, and `get_pydot_graph` needs pydot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, NamedTuple

from .errors import ConfigError
from .formats.files import write_whole
from .proto import NetParameter, PoolingParameter, upgrade

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
DIRECTIONS = ("LR", "RL", "TB", "BT")
_COLORS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")


class Graph(NamedTuple):
    """What is to be drawn: nodes by name, and edges (from, to), each with its attributes, quoted."""

    name: str
    rankdir: str
    nodes: dict[str, dict[str, Any]]
    edges: list[tuple[str, str, dict[str, Any]]]


def quote(text: str) -> str:
    """A name as Graphviz reads it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _in_label(text: str) -> str:
    """Text for a label of a box, where some characters would draw lines."""
    for special in '\\{}|<>"':
        text = text.replace(special, f"\\{special}")
    return text


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the pooling methods by number."""
    return {number: name for name, number in PoolingParameter.PoolMethod.items()}


def get_edge_label(layer: Any) -> str:
    """What stands on the arrows out of a layer, quoted: the batch size, the number of outputs, or nothing."""
    if layer.type == "Data":
        return f'"Batch {layer.data_param.batch_size}"'
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """The learning rate multipliers of a layer's weights and bias; ConfigError for types that have none of these."""
    if layer.type not in _LEARNING:
        raise ConfigError(f"layer {layer.name!r}: {layer.type} has no multipliers of learning rates to show")
    given = [param.lr_mult for param in layer.param][:2]
    weights, bias = given + [1.0] * (2 - len(given))
    return weights, bias


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """What stands in the box of a layer, quoted: name, type, geometry; on lines of its own where rows run across."""
    kind = layer.type
    if kind == "Pooling":
        kind += f" {get_pooling_types_dict()[layer.pooling_param.pool]}"
    words = [_in_label(layer.name), f"({_in_label(kind)})", *_geometry(layer)]
    if display_lrm and layer.type in _LEARNING:
        words.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    return '"' + (" " if rankdir in ("TB", "BT") else "\\n").join(words) + '"'


def _geometry(layer: Any) -> list[str]:
    """Kernel, stride and pad of the layers that have them; of several axes as 3x5."""
    if layer.type == "Pooling" and layer.pooling_param.global_pooling:
        return ["global"]
    if layer.type not in ("Convolution", "Deconvolution", "Pooling"):
        return []
    param = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
    rows = (("kernel size", "kernel_size", "kernel", 1), ("stride", "stride", "stride", 1), ("pad", "pad", "pad", 0))
    return [f"{shown}: {_per_axis(param, name, stem, default)}" for shown, name, stem, default in rows]


def _per_axis(param: Any, name: str, stem: str, default: int) -> str:
    sides = [f"{stem}_h", f"{stem}_w"]
    if any(param.HasField(side) for side in sides):
        return "x".join(str(getattr(param, side)) for side in sides)
    value = getattr(param, name)
    values = [value] if isinstance(value, int) else list(value) or [default]
    return "x".join(map(str, values if len(set(values)) > 1 else values[:1]))


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer's box, as #RRGGBB."""
    return _COLORS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def _in_phase(layer: Any, phase: int | None) -> bool:
    """Whether a layer's rules let it into a phase, whatever they say of levels and stages."""
    if phase is None:
        return True
    if layer.include:
        return any(not rule.HasField("phase") or rule.phase == phase for rule in layer.include)
    return not any(rule.HasField("phase") and rule.phase == phase for rule in layer.exclude)


def make_graph(
    net: NetParameter,
    rankdir: str = "LR",
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Graph:
    """The picture of a net as nodes and edges; ConfigError for a `rankdir` that is no direction."""
    if rankdir not in DIRECTIONS:
        raise ConfigError(f"rankdir: must be one of {', '.join(DIRECTIONS)}, got {rankdir!r}")
    if net.layers:
        net = upgrade.upgrade_net(net)
    graph = Graph(net.name or "Net", rankdir, {}, [])
    for layer in net.layer:
        if not _in_phase(layer, phase):
            continue
        box = f"{layer.name}_{layer.type}"
        if len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]:
            style = NEURON_LAYER_STYLE
        else:
            style = {**LAYER_STYLE_DEFAULT, "fillcolor": choose_color_by_layertype(layer.type)}
        graph.nodes[box] = _attributes(get_layer_label(layer, rankdir, display_lrm), style)
        for name in (*layer.bottom, *layer.top):
            graph.nodes[f"{name}_blob"] = _attributes(quote(name), BLOB_STYLE)
        graph.edges.extend((f"{name}_blob", box, {"label": '""'}) for name in layer.bottom)
        label = get_edge_label(layer) if label_edges else '""'
        graph.edges.extend((box, f"{name}_blob", {"label": label}) for name in layer.top)
    return graph


def _attributes(label: str, style: dict[str, str]) -> dict[str, str]:
    return {"label": label, **{name: quote(value) for name, value in style.items()}}


def dot_text(graph: Graph) -> str:
    """A picture in Graphviz's language."""

    def attributes(given: dict[str, str]) -> str:
        return ", ".join(f"{name}={value}" for name, value in given.items())

    lines = [f"digraph {quote(graph.name)} {{", f"  rankdir={graph.rankdir};"]
    lines += [f"  {quote(name)} [{attributes(given)}];" for name, given in graph.nodes.items()]
    lines += [f"  {quote(a)} -> {quote(b)} [{attributes(given)}];" for a, b, given in graph.edges]
    return "\n".join([*lines, "}", ""])


def get_pydot_graph(
    caffe_net: NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """The picture of a net as a pydot.Dot, to be changed before it is written. ConfigError without pydot."""
    try:
        import pydot
    except ImportError as error:
        raise ConfigError("draw: get_pydot_graph needs pydot: pip install 'caffe-lite[draw]'") from error
    graph = make_graph(caffe_net, rankdir, label_edges, phase, display_lrm)
    made = pydot.Dot(quote(graph.name), graph_type="digraph", rankdir=rankdir)
    for name, given in graph.nodes.items():
        made.add_node(pydot.Node(quote(name), **given))
    for a, b, given in graph.edges:
        made.add_edge(pydot.Edge(quote(a), quote(b), **given))
    return made


def draw_net(
    caffe_net: NetParameter, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The picture of a net in a format of Graphviz's: "png", "svg", "pdf" ..., or "dot" for its text.

    `rankdir` is the direction of the arrows (LR, RL, TB or BT), `phase` TRAIN or TEST to leave out other layers.
    ConfigError if Graphviz is missing or does not know the format.
    """
    text = dot_text(make_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)).encode()
    if ext in ("dot", "gv"):
        return text
    program = shutil.which("dot")
    if program is None:
        raise ConfigError(
            f"draw: for .{ext} files Graphviz's program `dot` must be installed (on Debian: apt install graphviz); "
            "a .dot file can be written without"
        )
    done = subprocess.run([program, f"-T{ext}"], input=text, capture_output=True, check=False)
    if done.returncode:
        problem = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise ConfigError(f"draw: Graphviz cannot make .{ext} of this net: {problem[0]}")
    return done.stdout


def draw_net_to_file(
    caffe_net: NetParameter,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a net, whole or not at all, in the format that the file's ending names."""
    ext = os.path.splitext(filename)[1].lstrip(".").lower()
    if not ext:
        raise ConfigError(f"draw: {os.fspath(filename)}: must end in .dot, .png, .svg, .pdf or the like")
    write_whole(filename, [draw_net(caffe_net, rankdir, ext, phase, display_lrm)])
