"""BatchNorm, BatchNormKyle, MVN, Normalize."""

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases, positive

ON = "4 3 5 2"
STORED = {1: positive([3]), 2: [1]}
MATURE = {0: [5, -20, 0], 1: positive([3], 1) * 40, 2: [37.5]}
FRESH = {0: np.zeros(3), 1: np.zeros(3), 2: [0]}
OWN = "use_global_stats: false"
SHARED_ONE = {0: np.array(0.7)}
FLAT = {"a": np.full((2, 3, 4, 5), 2.5)}


def _batch_norms(kind: str, more: str = "", params: dict[int, object] | None = None) -> list[LayerCase]:
    """Both sources of mean and variance, by phase and by request."""
    own = dict(params or {})
    return [
        *cases(kind, "batch_norm_param", more, f"{more} eps: 0.3", on=ON, params=STORED | own),
        *cases(kind, "batch_norm_param", more, f"{more} eps: 0.01", on=ON, params=MATURE | own),
        *cases(kind, "batch_norm_param", more, f"{more} {OWN}", on=ON, params=FRESH | own),
        *cases(
            kind, "batch_norm_param", f"{more} {OWN} moving_average_fraction: 0.9", on=ON, params=MATURE | own
        ),
        *cases(
            kind,
            "batch_norm_param",
            more,
            f"{more} moving_average_fraction: 0.5 eps: 0.1",
            on=ON,
            params=MATURE | own,
            train=True,
        ),
        *cases(
            kind, "batch_norm_param", f"{more} use_global_stats: true", on=ON, params=MATURE | own, train=True
        ),
        *cases(kind, "batch_norm_param", more, on="6 3", params=STORED | own, train=True),
        *cases(kind, "batch_norm_param", more, on="2 3 4", params=STORED | own),
        *cases(kind, "batch_norm_param", f"{more} {OWN}", on="2 3 2 2 2", params=STORED | own),
        *cases(kind, "batch_norm_param", f"{more} {OWN}", on="1 3", params=STORED | own),
    ]


CASES = [
    *[
        LayerCase(t, params={1: positive([int(t.shapes[0].split()[1])]), 2: [1]})
        for t in GOOD
        if t.type.startswith("BatchNorm")
    ],
    *_batch_norms("BatchNorm"),
    *_batch_norms("BatchNormKyle"),
    *_batch_norms("BatchNormKyle", "use_alpha_beta: true"),
    *[LayerCase(t) for t in GOOD if t.type in ("MVN", "Normalize")],
    *cases(
        "MVN",
        "mvn_param",
        "",
        "normalize_variance: false",
        "across_channels: true",
        "across_channels: true normalize_variance: false",
        "eps: 0.5",
    ),
    *cases("MVN", "mvn_param", "across_channels: true eps: 0.1", on="2 3 4"),
    *cases("MVN", "mvn_param", "eps: 0.01", on="2 3 4 5", inputs=FLAT),
    *[
        LayerCase(
            Toy("Normalize", [on], f"norm_param {{ across_spatial: {across} channel_shared: {shared} }}")
        )
        for on in ("3 4 5 2", "3 4 5", "3 4")
        for across in ("true", "false")
        for shared in ("true", "false")
    ],
    *cases(
        "Normalize",
        "norm_param",
        "",
        "across_spatial: false",
        "eps: 3",
        "across_spatial: false eps: 3 channel_shared: false",
        on=ON,
    ),
    *cases(
        "Normalize", "norm_param", "", "channel_shared: true across_spatial: false", on=ON, params=SHARED_ONE
    ),
    *cases(
        "Normalize",
        "norm_param",
        "",
        "across_spatial: false channel_shared: false",
        on="2 3 4 5",
        inputs={"a": np.zeros((2, 3, 4, 5))},
    ),
]
