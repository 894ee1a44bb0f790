"""One train net of benchmarks/zoo.py: its shapes, its drawing, and the net that `caffe-viz deploy` makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

TOLD = " by --input"  # with shapes for what no data layer tells, which stand in files that are not there
STAGES = ("read", "shapes", "all shapes", f"all shapes{TOLD}", "drawn", "deployed", f"deployed{TOLD}")
NEEDS = {"shapes": "read", "all shapes": "shapes", f"all shapes{TOLD}": "shapes", "drawn": "shapes"}
NEEDS |= {"deployed": "read", f"deployed{TOLD}": "read"}
# What is given to images of unknown shape: the first with which all is well.
IMAGES = (
    (1, 3, 224, 224), (1, 1, 28, 28), (1, 2, 28, 28), (1, 3, 448, 448), (1, 3, 360, 480), (1, 1, 64, 64, 64),
    (1, 100),
)  # fmt: skip
OTHERS = {"rois": (1, 5), "im_info": (1, 3), "gt_boxes": (1, 5), "label": (1,), "clip_markers": (1, 1)}


@dataclass
class Training:
    """One net; its shapes are those of TRAIN, or of TEST where TRAIN has no data layer."""

    path: Path
    memory: float  # GB

    @cached_property
    def given(self) -> Any:
        """The net with the layers of all states."""
        from caffe_viz.netdef import read_net

        return read_net(self.path)

    @cached_property
    def message(self) -> Any:
        """That of the state."""
        return self._in_state(self.given)

    def shapes(self) -> None:
        """The tables of `caffe-viz shapes`."""
        from caffe_viz import shapes

        str(shapes(self.message))

    def all_shapes(self) -> None:
        """Raises InputError where a shape is not known."""
        _need_all(self.message)

    def all_shapes_told(self) -> None:
        """The same with shapes for what is not told."""
        _first(lambda net: _need_all(self._in_state(net)), self._told())

    def draw(self) -> None:
        """The graph as SVG."""
        from caffe_viz import show_structure

        show_structure(self.message).svg()

    def deploy(self) -> None:
        """What `caffe-viz deploy` makes, loaded whole and run."""
        self._run(self.given, {})

    def deploy_told(self) -> None:
        """The same with shapes for what is not told."""
        _first(lambda shapes: self._run(self.given, shapes), self._shapes())

    def stages(self) -> dict[str, Callable[[], object]]:
        """What to do, in this order."""
        works = (
            lambda: self.given, self.shapes, self.all_shapes, self.all_shapes_told, self.draw, self.deploy,
            self.deploy_told,
        )  # fmt: skip
        return dict(zip(STAGES, works, strict=True))

    def _in_state(self, net: Any) -> Any:
        from caffe_viz import State, measure
        from caffe_viz.errors import InputError
        from caffe_viz.netdef import for_phase

        first = for_phase(net, State("TRAIN"))
        try:
            measure(first)
        except InputError as error:
            other = for_phase(net, State("TEST"))
            return other if " would with " in str(error) else first
        return first

    def _shapes(self) -> Iterator[dict[str, tuple[int, ...]]]:
        """Shapes for what the data layers of all states do not tell."""
        from caffe_viz.geometry.data_shapes import brings_data, told

        missing = [
            top
            for layer in filter(brings_data, self.given.layer)
            for top, shape in zip(layer.top, told(layer).shapes, strict=True)
            if shape is None
        ]
        for image in IMAGES:
            yield {top: OTHERS.get(top, (1,) if "label" in top else image) for top in missing}

    def _told(self) -> Iterator[Any]:
        from caffe_viz.surgery import with_inputs

        for shapes in self._shapes():
            yield with_inputs(self.given, shapes)

    def _run(self, net: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        from caffe_viz import deploy, load_net, measure
        from caffe_viz.errors import RunError

        message = deploy(net, input_shapes=shapes).message
        geometry = measure(message)
        if 3 * geometry.blob_bytes + 2 * geometry.param_bytes > self.memory * 2**30:
            raise RunError(f"memory: more than {self.memory:g} GB")
        made = load_net(message, engine="torch")
        if made.left_out:
            raise RunError(next(iter(made.left_out.values())))
        made.forward()


def _need_all(net: Any) -> None:
    from caffe_viz import measure
    from caffe_viz.errors import InputError

    for why in measure(net).unknown.values():
        raise InputError(why)


def _first(work: Callable[[Any], object], choices: Iterator[Any]) -> None:
    """Whichever choice works; raises the first one's error where none does."""
    from caffe_viz.errors import CaffeVizError

    def error_of(choice: Any) -> CaffeVizError | None:
        try:
            work(choice)
        except CaffeVizError as error:
            return error
        return None

    errors: list[CaffeVizError] = []
    for choice in choices:
        error = error_of(choice)
        if error is None:
            return
        errors.append(error)
    raise errors[0]
