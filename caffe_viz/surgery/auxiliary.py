"""The auxiliary net, whose loss is an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.geometry import ReceptiveField, measure, own_layers
from caffe_viz.netdef import NetParameter, for_phase
from caffe_viz.objectives import Channel, Form, Neuron, Objective, Slot, form_of, slots
from caffe_viz.surgery.batch_layout import batch_layout_for
from caffe_viz.surgery.cutting import leading_to, need_gradient, same_parameters, target, with_image
from caffe_viz.surgery.in_place import first_names, free, out_of_place, overwriting, spoiling
from caffe_viz.surgery.inputs import Shape, find_image, with_batch
from caffe_viz.surgery.objective_inputs import fill
from caffe_viz.surgery.rows import image_of_rows, values_of_rows, with_channels
from caffe_viz.surgery.terms import Adding, Blob, Term, add_form

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """A net that ends in one number: the sum over images of an objective's `values` (N,). Names are of blobs.

    The input (N, C, H, W) goes into `net.params[image_layer][0].data`; from the first forward on, the blob
    `image` shares its memory. `settings` returns the values of the Input blobs, `inputs`, for another
    objective of the same `form` for each image, without building a new net. `activations` maps each layer of
    the objective to its blob and shape. `field` is the receptive field of the layer that sees most, None if
    one has no layout. `made` maps each blob of the whole net to the one its own layer makes, before any
    in-place layer: usually itself.
    """

    message: NetParameter
    form: Form
    image: str
    image_layer: str
    image_shape: Shape
    activations: Mapping[str, Blob]
    terms: tuple[Term, ...]
    values: str
    objective: str
    field: ReceptiveField | None
    made: Mapping[str, str]

    @property
    def inputs(self) -> dict[str, Shape]:
        """The blobs that `settings` fills, and their shapes."""
        return {blob.name: blob.shape for term in self.terms for blob in term.inputs}

    def settings(
        self, objectives: Sequence[Objective], groups: Sequence[int] | None = None
    ) -> dict[str, Array]:
        """Return each blob's values with which image n climbs `objectives[n]`; other images do not count.

        `groups` has a number for each image; Diversity keeps images with the same number apart. None: one
        group for each kind of equal objectives.

        Raises:
            InputError: More objectives than images, of another form, with photographs that are not
                `resolved`, or with a filter, place, vector or target that a layer does not have.
        """
        images = next(iter(self.activations.values())).shape[0]
        if len(objectives) > images:
            raise InputError(f"{len(objectives)} objectives do not fit into a batch of {images}.")
        if groups is None:
            groups = [list(objectives).index(objective) for objective in objectives]
        if len(groups) != len(objectives):
            raise InputError(
                f"{len(groups)} groups for {len(objectives)} objectives: one for each is needed."
            )
        found = [self._slots(objective) for objective in objectives]
        out: dict[str, Array] = {}
        for place, term in enumerate(self.terms):
            out |= fill(term, [own[place].parts for own in found], groups)
        return out

    def _slots(self, objective: Objective) -> list[Slot]:
        form = form_of(objective)
        if str(form) != str(self.form):
            raise InputError(
                f"objective {str(objective)!r} has the form {str(form)!r}; this net is made for "
                f"{str(self.form)!r}: objectives of one batch differ only in numbers and photographs."
            )
        return list(slots(form))

    def select(self, filters: Sequence[int], neuron: tuple[int, ...] | None = None) -> Array:
        """Return the selector (N, C[, H, W]) with which image n climbs `filters[n]`: the mean of its map.

        With a selector of full shape, one neuron of the map: the one at `neuron`, or else the central one.
        Images without a filter do not count.

        Raises:
            InputError: More filters than images, or a filter or neuron that the layer does not have.
        """
        whole_map = len(self.selector_shape) == 2
        chosen = [
            Channel(self.layer, number) if whole_map else Neuron(self.layer, number, neuron)
            for number in filters
        ]
        return self.settings(chosen)[self.selector]

    @property
    def layer(self) -> str:
        """The layer of the objective; of several, the first."""
        return next(iter(self.activations))

    @property
    def activation(self) -> str:
        """The blob that this layer makes."""
        return self.activations[self.layer].name

    @property
    def activation_shape(self) -> Shape:
        """The shape of that blob."""
        return self.activations[self.layer].shape

    @property
    def selector(self) -> str:
        """The blob with the factor of each activation, (N, C) or (N, C, ..), in the layer's weighted sum."""
        return self._selector.name

    @property
    def selector_shape(self) -> Shape:
        """The shape of the selector."""
        return self._selector.shape

    @property
    def _selector(self) -> Blob:
        if len(self.terms) != 1 or self.terms[0].slot.kind != "linear":
            raise InputError(f"a net for {str(self.form)!r} has no one selector: use its settings.")
        return self.terms[0].inputs[0]


def auxiliary_net(
    net: NetParameter,
    objective: Objective | str,
    *,
    batch: int = 1,
    size: tuple[int, int] | None = None,
    neuron: bool = False,
    learn: bool = False,
    image: str | None = None,
) -> Auxiliary:
    """Build the net whose `forward()` returns an objective and whose `backward()` gives the image's gradient.

    Only the layers that lead to the objective are kept. `net` is cut right behind them, before layers that
    work on their tops in place. The image becomes a Parameter layer and all other parameters get lr_mult 0,
    so Caffe computes the gradient of the image and none of the weights. In-place layers that would spoil a
    gradient in real Caffe, the image, or what the objective needs, get a blob of their own. Weights load by
    name.

    Args:
        net: The network message.
        objective: An objective, of which only the form counts, or a layer's name, which stands for any of its
            filters. A layer with one number for each image has one filter.
        batch: How many images go in at once; if the net does not take as many, as many as it takes.
        size: (H, W) instead of the image's own.
        neuron: Give selectors the whole shape of the activation, to select single neurons.
        learn: Compute the gradients of the parameters too.
        image: The input to use as the image, if there are several candidates. An image that takes several
            rows of the input is (C, rows, H, W), and so are its activations.

    Raises:
        InputError: No such layer, or it has no gradient, or does not depend on exactly one image; the weights
            would not fit `size`; or the Gram matrices need too much memory.
    """
    if isinstance(objective, str):
        objective = Neuron(objective, 0) if neuron else Channel(objective, 0)
    form = form_of(objective)
    layers = list(dict.fromkeys(slot.layer for slot in slots(form)))
    whole = for_phase(net)
    targets = [target(whole, layer) for layer in layers]
    places = leading_to(whole, targets)
    part = NetParameter()
    part.layer.extend(whole.layer[i] for i in places)
    image, image_shape = find_image(part.layer, whole.name, f"layer {', '.join(map(repr, layers))}", image)
    need_gradient(part.layer, image)
    batch_layout = batch_layout_for(part, image, batch)
    kept = with_batch(part, batch_layout.axis).layer
    size = None if size == batch_layout.shape(image_shape)[1:] else size
    if size is not None and (len(image_shape) != 4 or batch_layout.rows > 1):
        raise InputError(f"input {image!r} of {image_shape} has no height and width to change.")
    image_shape = (batch_layout.axis, *image_shape[1:2], *(size or image_shape[2:]))
    names = {x.name for x in whole.layer} | {top for x in whole.layer for top in x.top}
    own = [places.index(place) for place in targets]
    copies = out_of_place(kept, spoiling(kept) | overwriting(kept, own), names)
    made = first_names(kept, copies)
    names |= {top for x in copies for top in x.top}
    image, image_layer = made[image], free("image", names)
    measured = own_layers(whole, measure(whole))
    params = [measured[i].param_shapes for i in places]
    message = with_image(copies, whole.name, params, image, image_shape, image_layer, learn)
    cut = measure(message)
    rest = own_layers(message, cut)
    same_parameters(rest, [p for x, p in zip(kept, params, strict=True) if x.type != "Input"], image_shape)
    tops = (copies[place].top[0] for place in own)
    activations = {layer: Blob(top, cut.blob(top)) for layer, top in zip(layers, tops, strict=True)}
    _need_rows(activations)
    fields = {layer.top[0]: x.field for layer, x in zip(message.layer, rest, strict=True) if layer.top}
    seen = [fields[blob.name] for blob in activations.values()]
    names |= {image_layer}
    activations = {
        layer: Blob(*with_channels(message, *blob, image_shape[0], names))
        for layer, blob in activations.items()
    }
    if batch_layout.rows > 1:
        message, image, image_shape = image_of_rows(message, batch_layout, names)
        activations = {
            layer: Blob(*values_of_rows(message, blob.name, blob.shape, batch_layout, names))
            for layer, blob in activations.items()
        }
    adding = Adding(message, names, activations)
    values = add_form(adding, form)
    result = adding.reduced("objective", values, 0)
    message.layer[-1].loss_weight.append(1)
    return Auxiliary(
        message=message,
        form=form,
        image=image,
        image_layer=image_layer,
        image_shape=image_shape,
        activations=activations,
        terms=tuple(adding.terms),
        values=values.name,
        objective=result.name,
        field=_widest(seen),
        made=made,
    )


def _need_rows(activations: Mapping[str, Blob]) -> None:
    """Raise InputError if the layers of an objective differ in their number of images."""
    rows = {layer: (blob.shape or (1,))[0] for layer, blob in activations.items()}
    if len(set(rows.values())) > 1:
        found = ", ".join(f"{n} of {layer!r}" for layer, n in rows.items())
        raise InputError(f"the layers of an objective need one row for each image, not {found}.")


def _widest(fields: Sequence[ReceptiveField | None]) -> ReceptiveField | None:
    known = [field for field in fields if field is not None]
    return max(known, key=lambda f: (0 in f.stride, f.size)) if len(known) == len(fields) else None
