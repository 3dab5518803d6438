"""ImageData: batches of the images that a list file names, with a label each."""

from __future__ import annotations

from ..blob import MAX_COUNT
from ..data.image_list import ImageListBatches
from ..data.transform import DataTransformer
from ._data import StreamLayer, copy_of


class ImageData(StreamLayer, type="ImageData", param="image_data_param"):
    """Tops: images (batch, C, H, W), BGR or grey, resized, then as transform_param says; and labels (batch)."""

    def setup(self):
        p = self.param
        if not p.source:
            raise self.error("image_data_param.source: must name a list of images")
        if p.batch_size < 1:
            raise self.error(f"image_data_param.batch_size: must be at least 1, got {p.batch_size}")
        if bool(p.new_height) != bool(p.new_width):
            raise self.error("image_data_param: new_height and new_width must be given together")
        if 3 * p.new_height * p.new_width > MAX_COUNT:
            size = f"{p.new_height} x {p.new_width}"
            raise self.error(f"image_data_param: new_height and new_width: no image can be as large as {size}")
        for field in ("short_side", "dataset_share_per_node"):
            if p.HasField(field):
                raise self.error(f"image_data_param.{field}: is NVIDIA's, and not supported by caffe-lite")

        legacy = ("scale", "mean_file", "crop_size", "mirror")
        self.warn_of_ignored("image_data_param", *legacy, instead="transform_param")

    def open_stream(self, depth, seed):
        param = copy_of(self.param)
        param.source = self.find_file(param.source)
        return ImageListBatches(param, DataTransformer(self.transform_param(), self.phase), depth, seed)
