"""`deploy`: turn a train_val file into the net for use and its preprocess.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe_viz.deploying.losses import Loss, answers, auxiliary, compared, learned, loss_of, measures
from caffe_viz.deploying.pixels import Pixels, mean_file, only_trains, pixels_of
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.geometry.data_shapes import brings_data, told
from caffe_viz.images import Preprocess
from caffe_viz.netdef import AS_FILED, LayerParameter, NetParameter, State, for_phase, write_net
from caffe_viz.netdef.copying import without_layers
from caffe_viz.surgery import Shape, as_input, with_inputs
from caffe_viz.surgery.inputs import input_shapes, leading_to

DEPLOY = "deploy"  # the stage of nets that have their own layers for use, as DIGITS writes them
PROB = "prob"  # what the answer of public deploy nets is called
LEARNING = ("lr_mult", "decay_mult")


@dataclass(frozen=True)
class Deployed:
    """A net for use, its preprocessing (None: unknown), and notes on what could not be kept.

    The notes `of_images` are about the preprocessing.
    """

    message: NetParameter
    preprocess: Preprocess | None
    notes: tuple[str, ...]
    of_images: tuple[str, ...] = ()

    def save(self, path: str | Path) -> list[Path]:
        """Write the prototxt, and a preprocess.toml beside it unless there is one already.

        Raises:
            RunError: A file cannot be written.
        """
        file = Path(path)
        write_net(self.message, file)
        beside = file.parent / "preprocess.toml"
        if self.preprocess is None or beside.exists():
            return [file]
        comments = "".join(f"# {note}\n" for note in self.of_images)
        return [file, *self.preprocess.save(beside, comments)]


def deploy(
    net: NetParameter,
    *,
    state: State = AS_FILED,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    folder: Path | None = None,
) -> Deployed:
    """Turn the TEST net of a train_val file into a net for use, which returns what its losses compare.

    Data layers become Input layers for `batch` images; None means one, or what the file says if the net takes
    no other number. A softmax or sigmoid loss becomes the plain function. Other losses, accuracy layers, and
    what only they need, are removed, and so are losses of less weight than another on the same label. Weights
    load by name, and what remains computes what it computed in TEST. `state` is as for `load_net`, but by
    default TEST, with the stage `deploy` if the file has layers for it. A data layer or a loss of TRAIN
    counts if TEST has none. `folder` is searched for mean files.

    Raises:
        InputError: An input's shape is not known, or the net has no answer.
    """
    given = dict(input_shapes or {})
    with_inputs(net, given)  # raises where there is no such input
    whole, layers, notes = _chosen(net, state)
    body = without_layers(whole)
    body.ClearField("state")
    body.ClearField("other_states")
    goals = _Goals(layers, _losses(net, layers), notes)
    body.layer.extend(goals.without_losses())
    needed = leading_to(body, goals.blobs())
    data = [layer for layer in needed.layer if layer.type == "Input" or brings_data(layer)]
    if not [layer for layer in needed.layer if layer.bottom]:
        raise InputError(f"net {net.name!r} has no answer: no loss, no accuracy and no output.")
    shapes = _shapes(needed, data, given, folder)
    out, more = _fitting(needed, data, shapes, given, batch)
    notes += [*more, *_labels(needed, data)]
    found = _pixels(net, out, folder)
    return Deployed(out, found.preprocess, (*notes, *found.notes), tuple(found.notes))


def _pixels(net: NetParameter, made: NetParameter, folder: Path | None) -> Pixels:
    """How images get into `made`, by the data layers of `net`."""
    return pixels_of(net, input_shapes(made.layer), folder)


def _chosen(net: NetParameter, asked: State) -> tuple[NetParameter, list[LayerParameter], list[str]]:
    """The net of the selected state, its layers with borrowed data layers, and notes on the state."""
    found = []
    for state, note in _states(net, asked):
        whole = for_phase(net, state)
        layers = [*_borrowed(net, whole), *whole.layer]
        missing = len(_read(layers) - _tops(layers))
        found.append((missing, whole, layers, note))
        if not missing:
            break
    _, whole, layers, note = min(found, key=lambda one: one[0])
    return whole, layers, [note] if note else []


def _states(net: NetParameter, asked: State) -> Iterator[tuple[State, str]]:
    """The states that may be meant, the most likely first, and a note if the user did not choose it."""
    phase = asked.phase or "TEST"
    rules = [rule for layer in net.layer for rule in (*layer.include, *layer.exclude)]
    known = dict.fromkeys(stage for rule in rules for stage in (*rule.stage, *rule.not_stage))
    free = not asked.stages and DEPLOY not in net.state.stage
    if free and DEPLOY in known:
        yield State(phase, (DEPLOY,), asked.level), f"the layers of the file's own stage {DEPLOY!r} are used"
    yield State(phase, asked.stages, asked.level), ""
    for stage in known if free else ():
        yield State(phase, (stage,), asked.level), f"the layers of the stage {stage!r} are used"
    if asked.phase is None:
        yield State("TRAIN", asked.stages, asked.level), "the layers of the phase TRAIN are used"


def _read(layers: Sequence[LayerParameter]) -> set[str]:
    """The blobs that layers read; of losses and accuracy layers only their answers."""
    known = learned(layers)
    out = set[str]()
    for layer in layers:
        loss = loss_of(layer)
        out.update(answers(layer, loss, known) if loss else layer.bottom[: 1 if measures(layer) else None])
    return out


def _tops(layers: Sequence[LayerParameter]) -> set[str]:
    return {top for layer in layers for top in layer.top}


def _borrowed(net: NetParameter, whole: NetParameter) -> Iterator[LayerParameter]:
    """Data layers of other states that make what no layer of this one does."""
    made = _tops(whole.layer)
    missing = _read(whole.layer) - made
    # Those of TEST before those of TRAIN.
    data = [layer for layer in net.layer if brings_data(layer) or layer.type == "Input"]
    for layer in sorted(data, key=only_trains):
        if missing.intersection(layer.top) and made.isdisjoint(layer.top):
            copy = LayerParameter()
            copy.CopyFrom(layer)
            copy.ClearField("include")
            copy.ClearField("exclude")
            yield copy
            made.update(layer.top)
            missing -= set(layer.top)


def _losses(net: NetParameter, layers: Sequence[LayerParameter]) -> list[LayerParameter]:
    """The losses among `layers`, or those of other states whose answers `layers` make."""
    own = [layer for layer in layers if loss_of(layer)]
    if own:
        return own
    made, known, found = _tops(layers), learned(layers), []
    for layer in net.layer:
        loss = loss_of(layer)
        if loss and made.issuperset(answers(layer, loss, known)):
            found.append(layer)
    return found


class _Goals:
    """What a net is to return instead of its losses."""

    def __init__(
        self, layers: Sequence[LayerParameter], losses: Sequence[LayerParameter], notes: list[str]
    ) -> None:
        self.layers, self.notes = layers, notes
        self.known, self.compared = learned(layers), compared(layers)
        lesser = list(auxiliary(losses))
        self.losses = [layer for layer in losses if layer not in lesser]
        if lesser:
            names = ", ".join(repr(layer.name) for layer in lesser)
            notes.append(f"auxiliary losses of less weight are dropped, with their branches: {names}")
        self.shown: list[LayerParameter] = []
        self._answers = list(self._found())

    def without_losses(self) -> list[LayerParameter]:
        """All other layers, without what only a training reads, and the layers that show answers."""
        return [*map(_for_use, (x for x in self.layers if not loss_of(x))), *self.shown]

    def blobs(self) -> list[str]:
        """Answers, and outputs of the net that depend on what it learned, and on no label."""
        outputs = dict[str, None]()
        for layer in self.layers:
            for name in layer.bottom:
                outputs.pop(name, None)
            if not loss_of(layer) and not measures(layer):
                outputs.update(dict.fromkeys(layer.top))
        rest = [name for name in outputs if name in self.known and name not in self.compared]
        measured = [layer.bottom[0] for layer in self.layers if measures(layer) and layer.type != "Silence"]
        found = [*self._answers, *rest] or [x for one in measured for x in self._before(one)]
        return list(dict.fromkeys(found))

    def _before(self, blob: str, end: int | None = None) -> list[str]:
        """`blob`, or, where it depends on labels, the learned blobs that it was made of before it did."""
        if blob not in self.compared:
            return [blob] if blob in self.known else []
        for place in range(len(self.layers) if end is None else end, 0, -1):
            layer = self.layers[place - 1]
            if blob in layer.top:
                return [x for name in layer.bottom for x in self._before(name, place - 1)]
        return []

    def _found(self) -> Iterator[str]:
        several = sum(bool(_loss(layer).shown) for layer in self.losses) > 1
        for layer in self.losses:
            loss = _loss(layer)
            for name in answers(layer, loss, self.known):
                before = self._before(name)
                if before == [name] and loss.shown:
                    yield self._shown(layer, name, loss, several)
                else:
                    yield from before

    def _shown(self, layer: LayerParameter, blob: str, loss: Loss, several: bool) -> str:
        """The blob of a layer that shows an answer: one that is there, or a new one."""
        for other in (*self.layers, *self.shown):
            if other.type == loss.shown and list(other.bottom) == [blob] and len(other.top) == 1:
                return other.top[0]
        names = {x.name for x in self.layers} | {top for x in self.layers for top in x.top}
        names |= {x.name for x in self.shown}
        second = layer.top[1] if len(layer.top) > 1 and loss.shown == "Softmax" else ""  # its probabilities
        name = second or (f"{PROB}_{blob}" if several or PROB in names else PROB)
        made = LayerParameter(name=name, type=loss.shown, bottom=[blob], top=[name])
        if loss.shown == "Softmax" and layer.softmax_param.HasField("axis"):
            made.softmax_param.axis = layer.softmax_param.axis
        self.shown.append(made)
        return name


def _loss(layer: LayerParameter) -> Loss:
    return loss_of(layer) or Loss()


def _for_use(layer: LayerParameter) -> LayerParameter:
    """A copy without what only a training reads."""
    out = LayerParameter()
    out.CopyFrom(layer)
    for name in ("loss_weight", "propagate_down", "include", "exclude", "phase"):
        out.ClearField(name)
    for spec in out.param:
        for name in LEARNING:
            spec.ClearField(name)
    if not any(spec.name for spec in out.param):
        out.ClearField("param")
    return out


def _shapes(
    net: NetParameter, data: Sequence[LayerParameter], given: Mapping[str, Sequence[int]], folder: Path | None
) -> dict[str, Shape]:
    """The shapes of what data layers give to `net`, as in the training.

    Raises:
        InputError: one that the net needs is not known.
    """
    used = {name for layer in net.layer for name in layer.bottom}
    out, missing = dict[str, Shape](), []
    for layer in data:
        mean = mean_file(layer, folder)
        found = told(layer, () if mean is None or mean.size is None else mean.values.shape).shapes
        if layer.type == "Input":
            found = tuple(input_shapes([layer]).values())
        for top, shape in zip(layer.top, found, strict=True):
            if top in given:
                out[top] = tuple(given[top])
            elif top in used and shape is None:
                missing.append((layer, top))
            elif top in used and shape is not None:
                out[top] = shape
    if missing:
        names = ", ".join(f"{top!r} of layer {layer.name!r} ({layer.type})" for layer, top in missing)
        options = " ".join(f"--input {top}=1x3x224x224" for _, top in missing)
        raise InputError(
            f"the file does not tell the shape of {names}: give it, with your own numbers, by {options} "
            "(input_shapes)."
        )
    return out


def _fitting(
    net: NetParameter,
    data: Sequence[LayerParameter],
    shapes: Mapping[str, Shape],
    given: Mapping[str, Sequence[int]],
    batch: int | None,
) -> tuple[NetParameter, list[str]]:
    """`net` with Input layers for `batch` images, or else for one, if the net takes that."""

    def made(count: int | None) -> NetParameter:
        sized = {
            top: shape if count is None or top in given or shape[:1] != (first,) else (count, *shape[1:])
            for top, shape in shapes.items()
        }
        return _with_data(net, data, sized)

    first = next((shape[0] for top, shape in shapes.items() if top not in given), None)
    if batch is not None:
        return _measured(made(batch)), []
    try:
        return _measured(made(1)), []
    except InputError as error:
        kept = made(None)
        try:
            measure(kept)
        except InputError:
            raise error from None
        return kept, [f"the net takes its own number of images only, {first}: {error}"]


def _measured(net: NetParameter) -> NetParameter:
    measure(net)
    return net


def _with_data(
    net: NetParameter, data: Sequence[LayerParameter], shapes: Mapping[str, Shape]
) -> NetParameter:
    out = without_layers(net)
    for layer in net.layer:
        if layer in data:
            out.layer.append(as_input(layer, {top: shapes[top] for top in layer.top if top in shapes}))
        else:
            out.layer.append(layer)
    return out


def _labels(net: NetParameter, data: Sequence[LayerParameter]) -> Iterator[str]:
    """Notes on what a deploy net hardly has: labels among its inputs."""
    for layer in data:
        for top in layer.top[1:]:
            reader = next((x for x in net.layer if top in x.bottom), None)
            if reader is not None:
                where = f"{reader.name!r} ({reader.type})"
                yield f"{top!r} of layer {layer.name!r} stays an input: layer {where} reads it"
