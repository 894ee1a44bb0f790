"""Inputs and shapes that auxiliary nets and nets with given inputs are made with, at their limits."""

from __future__ import annotations

from typing import Any

import pytest
from input_toys import toy

from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, parse_net
from caffe_viz.objectives import Channel, Objective, Sum
from caffe_viz.surgery import auxiliary_net, with_inputs
from caffe_viz.surgery.batch_layout import BatchLayout, batch_layout_for
from caffe_viz.surgery.inputs import input_shapes

CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }'


def data_layer(kind: str, settings: str) -> NetParameter:
    return parse_net(
        f'name: "n" layer {{ name: "d" type: "{kind}" top: "data" top: "label" {settings} }} {CONV}'
    )


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return str(caught.value)


class TestGivenShapes:
    STORED = data_layer(
        "Data", "transform_param { crop_size: 9 force_color: true } data_param { batch_size: 4 }"
    )
    # A fork's, whose settings stand in fields that Caffe does not know.
    FORKS = data_layer("OddImageData", "odd_image_data_param { batch_size: 2 new_height: 6 new_width: 5 }")

    @pytest.mark.parametrize(
        ("shape", "words"), [((), "scalar is not a shape"), ((1, 0), "1x0 is not a shape"), ((-1, 3), "-1x3 is not a shape")]
    )  # fmt: skip
    def test_no_shape(self, shape: tuple[int, ...], words: str) -> None:
        said = refusal(with_inputs, self.STORED, {"data": shape})
        assert said == f"input 'data': {words}; write it as 1x3x227x227."
        assert with_inputs(self.STORED, {"data": (1, 1, 3, 3)}).layer[0].type == "Input"

    @pytest.mark.parametrize(
        "settings", ["", "transform_param { crop_size: 4 } data_param { batch_size: 2 }"]
    )
    def test_what_a_fork_says_about_images_is_not_about_its_labels(self, settings: str) -> None:
        for net in (self.FORKS, data_layer("OddImageData", settings)):
            found = measure(with_inputs(net, {"data": (3, 1, 7, 8)}))
            assert found.blobs["data"] == (3, 1, 7, 8)
            assert list(found.unknown) == ["label"]

    def test_images_stay_told_where_only_labels_are_given(self) -> None:
        found = measure(with_inputs(self.STORED, {"label": (7, 2)}))
        assert found.blobs == {"label": (7, 2), "data": (4, 3, 9, 9), "c": (4, 2, 7, 7)}


def test_inputs_of_a_net_without_shapes() -> None:
    """As in old caffemodels, until someone says them."""
    net = parse_net('layer { name: "d" type: "Input" top: "data" top: "label" }')
    assert input_shapes(net.layer) == {"data": (), "label": ()}


@pytest.mark.parametrize("given", [2, 4])
def test_images_go_in_one_by_one_where_a_layer_is_unknown(given: int) -> None:
    shape = f"shape {{ dim: {given} dim: 3 dim: 6 dim: 5 }}"
    net = parse_net(f"""
        layer {{ name: "d" type: "Input" top: "data" input_param {{ {shape} }} }}
        layer {{ name: "odd" type: "Odd" bottom: "data" top: "odd" }}
        layer {{ name: "r" type: "ReLU" bottom: "odd" top: "r" }}
    """)
    assert batch_layout_for(net, "data", 4) == BatchLayout(1, 1)


class TestAuxiliaryNets:
    @pytest.mark.parametrize(
        ("name", "layer", "image", "words"),
        [
            ("sequence", "ip", "x", "input 'x' of (5, 1, 3) has no height and width to change."),
            ("pair", "end", "data", "input 'data' of (2, 3, 6, 5) has no height and width to change."),
        ],
    )
    def test_sizes_of_what_is_no_image(self, name: str, layer: str, image: str, words: str) -> None:
        assert refusal(auxiliary_net, toy(name)[0], layer, size=(8, 8), image=image) == words

    def test_sizes_of_vectors(self) -> None:
        net = parse_net("""
            layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 } } }
            layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
        """)
        assert refusal(auxiliary_net, net, "ip", size=(8, 8), image="data") == (
            "input 'data' of (1, 8) has no height and width to change."
        )

    def test_the_size_that_it_has_anyway(self) -> None:
        assert auxiliary_net(toy("free")[0], "conv", size=(6, 5)).image_shape == (1, 3, 6, 5)

    def test_layers_with_other_numbers_of_rows(self) -> None:
        both: Objective = Sum(((1.0, Channel("ip", 0)), (1.0, Channel("end", 0))))
        assert refusal(auxiliary_net, toy("pair")[0], both) == (
            "the layers of an objective need one row for each image, not 1 of 'end', 2 of 'ip'."
        )

    def test_an_answer_of_all_rows_is_one_row_already(self) -> None:
        made = auxiliary_net(toy("pair")[0], "end")
        assert (made.image_shape, made.activation, made.activation_shape) == ((1, 3, 2, 6, 5), "end", (1, 3))

    def test_a_loss_as_a_layer_adds_nothing_of_its_own(self) -> None:
        """Left out, the weight of its top would be 1."""
        net = parse_net("""
            layer { name: "d" type: "Input" top: "data" top: "wanted" input_param {
                shape { dim: 1 dim: 3 dim: 6 dim: 5 } shape { dim: 1 dim: 3 dim: 6 dim: 5 } } }
            layer { name: "far" type: "EuclideanLoss" bottom: "data" bottom: "wanted" top: "far" loss_weight: 3 }
        """)
        made = auxiliary_net(net, "far", image="data")
        weights = {layer.name: list(layer.loss_weight) for layer in made.message.layer if layer.loss_weight}
        assert weights == {"far": [0], "objective": [1]}
