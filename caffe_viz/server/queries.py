"""The questions that can be asked by URL, with their parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=1000)]  # of a layer, an objective: text
Which = Annotated[int, Field(ge=0, le=1)]  # of the networks that are open


class Query(BaseModel):
    """The parameters of a question. `net` is the number of the network: 1 is the second one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    net: Which = 0

    @property
    def images(self) -> tuple[str, ...]:
        """The ids of all images that it is about."""
        return ()


class ImageQuery(Query):
    """About one image."""

    image: ImageId

    @property
    def images(self) -> tuple[str, ...]:
        return (self.image,)


class LayerQuery(ImageQuery):
    """About the activation of a layer for an image."""

    layer: Name


class UnitQuery(LayerQuery):
    """About one channel of a layer, for an image."""

    unit: Annotated[int, Field(ge=0)]


class Thumbnail(ImageQuery):
    """The image itself, its longer side at most `side` pixels."""

    side: Annotated[int, Field(ge=16, le=1024)] = 1024


class Difference(LayerQuery):
    """The maps of a layer minus those of `other_image`, on the network `other_net`."""

    other_image: ImageId
    other_net: Which = 0

    @property
    def images(self) -> tuple[str, ...]:
        return (self.image, self.other_image)


class Weights(Query):
    """The weights of one unit of a layer."""

    layer: Name
    unit: Annotated[int, Field(ge=0)]


class Attribution(ImageQuery):
    """What in an image causes a target, written as for `attribute --target`."""

    target: Annotated[str, Field(max_length=1000)] = ""  # "": the likeliest class
    method: Name = "grad-cam"
    layer: Annotated[str, Field(max_length=1000)] = ""  # whose maps a CAM reads; "": the default


class Ascent(Query):
    """An input that maximises an objective, written as for `ascend --objective`."""

    objective: Name
    method: Literal["natural", "regularised", "plain"] = "natural"
    steps: Annotated[int, Field(ge=1, le=2048)] = 64
    pictures: Annotated[int, Field(ge=1, le=8)] = 1
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class Places(Query):
    """The places in the photographs that activate a unit most."""

    layer: Name
    unit: Annotated[int, Field(ge=0)]


class Report(Query):
    """The report as a page to send, with the images on the screen; the layer on the screen comes first."""

    image: Annotated[str, Field(pattern="^([0-9a-f]{16,64})?$")] = ""
    other_image: Annotated[str, Field(pattern="^([0-9a-f]{16,64})?$")] = ""
    layer: Annotated[str, Field(max_length=1000)] = ""
    budget: Annotated[float, Field(ge=0, le=600)] = 20

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for one in (self.image, self.other_image) if one))
