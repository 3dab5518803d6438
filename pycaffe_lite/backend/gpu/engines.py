"""What becomes of `engine` in layers that are no convolutions: said once a net, where somebody asks for cuDNN."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger("pycaffe_lite")


def tell_engines(layers: Iterable[Any]) -> None:
    """Log which layers ask for cuDNN but are computed by our own kernels."""
    asked = [
        layer.name for layer in layers if layer.type not in ("Convolution", "Deconvolution") and wants_cudnn(layer)
    ]
    if asked:
        log.warning(
            "engine: CUDNN, but only convolutions are computed by cuDNN: our own kernels compute %s", ", ".join(asked)
        )


def wants_cudnn(layer: Any) -> bool:
    """Whether a layer's parameters say `engine: CUDNN`."""
    param = layer.param
    if param is None or "engine" not in param.DESCRIPTOR.fields_by_name:
        return False
    return param.engine == param.DESCRIPTOR.fields_by_name["engine"].enum_type.values_by_name["CUDNN"].number
