"""Read images from disk and convert between RGB in 0..1 and the pixels that a Caffe network takes."""

from caffe_viz.images.collection import ImageCollection
from caffe_viz.images.files import jpeg_bytes, load_image, png_bytes, save_gif, save_png
from caffe_viz.images.label_files import labels_beside, read_labels
from caffe_viz.images.labels import Labels
from caffe_viz.images.pixels import display_rgb, resized, stretched
from caffe_viz.images.preprocess import Preprocess

__all__ = [
    "ImageCollection",
    "Labels",
    "Preprocess",
    "display_rgb",
    "jpeg_bytes",
    "labels_beside",
    "load_image",
    "png_bytes",
    "read_labels",
    "resized",
    "save_gif",
    "save_png",
    "stretched",
]
