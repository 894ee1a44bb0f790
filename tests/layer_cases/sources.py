"""DummyData; the sources that need arrays or files stand in test_engine_sources.py."""

from geometry_toys import GOOD, Toy

from layer_cases import LayerCase

VALUES = "data_filler { value: 1.5 } data_filler { value: -2 }"

CASES = [
    *[LayerCase(t) for t in GOOD if t.type == "DummyData"],
    LayerCase(
        Toy("DummyData", [], f"dummy_data_param {{ shape {{ dim: 2 dim: 3 }} shape {{ }} {VALUES} }}", 2)
    ),
    LayerCase(Toy("DummyData", [], "dummy_data_param { shape { dim: 4 } data_filler { value: 7 } }", 2)),
    LayerCase(
        Toy(
            "DummyData",
            [],
            f"dummy_data_param {{ num: 1 num: 2 channels: 3 height: 1 width: 5 width: 2 {VALUES} }}",
            2,
        )
    ),
    LayerCase(
        Toy(
            "DummyData",
            [],
            "dummy_data_param { shape { dim: 2 dim: 1 dim: 4 dim: 4 } data_filler { type: 'bilinear' } }",
        )
    ),
]
