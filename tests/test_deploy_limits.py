"""Files that hardly become nets for use, and preprocessing that preprocess.toml cannot say."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_deploy import BODY, END, IMAGES, MEMORY, loss

import caffe_viz as cv
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.images import Preprocess
from caffe_viz.images.mean import Mean
from caffe_viz.netdef import make_blob, parse_net


class TestInputs:
    def test_labels_compared_before_they_are_made(self) -> None:
        """Layers in the wrong order, none of which the net for use has."""
        wrong = """
            layer { name: "off" type: "Eltwise" bottom: "label" bottom: "late" top: "off" }
            layer { name: "late" type: "Tile" bottom: "label" top: "late" tile_param { tiles: 1 } }
        """
        made = cv.deploy(parse_net(MEMORY + BODY + wrong + loss("HingeLoss", "off", "label")))
        assert made.message.layer[-1].name == "fc"

    def test_labels_that_a_layer_with_weights_reads_stay(self) -> None:
        words = """
            layer { name: "word" type: "Embed" bottom: "label" top: "word" embed_param { num_output: 5 input_dim: 9 } }
            layer { name: "sum" type: "Eltwise" bottom: "fc" bottom: "word" top: "sum" }
        """
        made = cv.deploy(parse_net(MEMORY + BODY + words))
        assert made.notes == ("'label' of layer 'data' stays an input: layer 'word' (Embed) reads it",)
        assert list(made.message.layer[0].top) == ["data", "label"]

    def test_a_net_that_takes_no_number_of_images(self) -> None:
        """The error is that of one image."""
        split = 'layer { name: "r" type: "Reshape" bottom: "fc" top: "r" reshape_param { shape { dim: %d dim: 5 } } }'
        assert cv.measure(cv.deploy(parse_net(MEMORY + BODY + split % 4)).message).blobs["r"] == (4, 5)
        with pytest.raises(InputError) as caught:
            cv.deploy(parse_net(MEMORY + BODY + split % 3))
        assert str(caught.value) == str(
            refused(lambda: cv.deploy(parse_net(MEMORY + BODY + split % 3), batch=1))
        )
        assert str(caught.value) != str(
            refused(lambda: cv.deploy(parse_net(MEMORY + BODY + split % 3), batch=4))
        )


def refused(call: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value


class TestPixels:
    def made(
        self, transform: str, images: str = "new_height: 8 new_width: 8"
    ) -> tuple[Preprocess | None, tuple[str, ...]]:
        found = cv.deploy(parse_net(IMAGES % (transform, images) + END))
        return found.preprocess, found.of_images

    def test_channels_of_no_image(self) -> None:
        made = cv.deploy(parse_net(MEMORY.replace("channels: 1", "channels: 2") + END))
        assert made.preprocess is None
        assert made.of_images == (
            "layer 'data' (MemoryData) gives 1x2x8x8, which is not an image: no preprocess.toml is written",
        )

    def test_means_of_other_channels(self) -> None:
        grey = "new_height: 8 new_width: 8 is_color: false"
        assert self.made("mean_value: 1 mean_value: 2 mean_value: 6", grey) == (
            Preprocess("GRAY", Mean.of(3), 1, None), ("layer 'd' (ImageData) has 3 means for 1 channels: their average is kept",),
        )  # fmt: skip
        assert self.made("mean_value: 2", grey) == (Preprocess("GRAY", Mean.of(2), 1, None), ())
        assert self.made("mean_value: 2") == (Preprocess("BGR", Mean.of(2), 1, None), ())

    def test_crops_from_a_rectangle(self) -> None:
        assert self.made("crop_size: 8", "new_height: 10 new_width: 12") == (
            Preprocess("BGR", Mean.of(0), 1, None),
            ("images are warped straight to the input: preprocess.toml has no crop from (10, 12)",),
        )

    def test_noise_of_ssd(self) -> None:
        noisy = self.made("noise_param { prob: 0.5 }")
        assert noisy == (
            Preprocess("BGR", Mean.of(0), 1, None), ("layer 'd' (ImageData) has noise_param, which preprocess.toml cannot say",)
        )  # fmt: skip

    def test_a_scale_that_is_none(self) -> None:
        assert self.made("scale: nan") == (
            None,
            (
                "layer 'd' (ImageData): scale is nan: a number other than 0 is expected. No preprocess.toml is written",
            ),
        )


class TestMeansBesideANet:
    """No file says anything but the mean."""

    def found(self, folder: Path, mean: Any) -> tuple[Preprocess, list[str]]:
        (folder / "deploy.prototxt").write_text(
            f'layer {{ name: "i" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 8 }} }} }}{BODY}'
        )
        (folder / "mean.binaryproto").write_bytes(mean)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", CaffeVizWarning)
            made = preprocess_near(folder / "deploy.prototxt")
        return made, [str(one.message) for one in said]

    @pytest.mark.parametrize("channels", [1, 3])
    def test_of_an_image(self, channels: int, tmp_path: Path) -> None:
        mean = np.full((1, channels, 9, 9), 7.0)
        made, said = self.found(tmp_path, make_blob(mean).SerializeToString())
        assert (made.channel_order, made.resize, made.mean.average) == (
            {1: "GRAY", 3: "BGR"}[channels],
            9,
            (7.0,) * channels,
        )
        assert said == []

    def test_of_channels_that_no_image_has(self, tmp_path: Path) -> None:
        made, said = self.found(tmp_path, make_blob(np.ones((1, 2, 9, 9))).SerializeToString())
        assert made == Preprocess()
        assert said == [
            f"{tmp_path / 'mean.binaryproto'} has 2 channels, which no image has: it is not used."
        ]

    def test_of_another_format(self, tmp_path: Path) -> None:
        made, said = self.found(tmp_path, b"<html></html>")
        assert made == Preprocess()
        assert said == [
            f"{tmp_path / 'mean.binaryproto'} is not a binaryproto: it is a web page; the download went wrong. It is not used."
        ]
