"""WindowData: batches of windows of images, so many foreground and so many background (Girshick et al. 2014)."""

from __future__ import annotations

from ..data.windows import WindowBatches
from ._data import StreamLayer, copy_of


class WindowData(StreamLayer, type="WindowData", param="window_data_param"):
    """Tops: windows (batch, 3, crop, crop), BGR, warped to crop_size with context around them; classes (batch)."""

    def setup(self):
        p, transform = self.param, self.message.transform_param
        if not p.source:
            raise self.error("window_data_param.source: must name a window file")
        if p.batch_size < 1:
            raise self.error(f"window_data_param.batch_size: must be at least 1, got {p.batch_size}")
        if transform.crop_size < 1:
            raise self.error(f"transform_param.crop_size: must be at least 1, got {transform.crop_size}")
        if 2 * p.context_pad >= transform.crop_size:
            rule = f"must be less than half of crop_size {transform.crop_size}"
            raise self.error(f"window_data_param.context_pad: {rule}, got {p.context_pad}")
        if p.crop_mode not in ("warp", "square"):
            raise self.error(f"window_data_param.crop_mode: must be warp or square, got {p.crop_mode!r}")
        if not 0 <= p.fg_fraction <= 1:
            raise self.error(f"window_data_param.fg_fraction: must be in [0, 1], got {p.fg_fraction:g}")
        if transform.mean_file and transform.mean_value:
            raise self.error("transform_param: mean_file and mean_value cannot both be given")
        self.warn_of_ignored("window_data_param", "mean_file", "crop_size", "mirror", instead="transform_param")
        self.warn_of_ignored("transform_param", "scale", instead="window_data_param")

    def open_stream(self, depth, seed):
        param = copy_of(self.param)
        param.source = self.find_file(param.source)
        return WindowBatches(param, self.transform_param(), depth, seed)
