"""Scripts of pycaffe's users, in small: the same text runs on both engines, with the same results."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

pytest.importorskip("torch", reason="the engine torch is not installed")

from legacy_io import restore

from caffe_viz import backend

ROOT = Path(__file__).resolve().parent.parent
MODEL = str(ROOT / "prototxt/caffenet_cifar10/deploy.prototxt")
WEIGHTS = str(ROOT / "prototxt/caffenet_cifar10/caffenet_cifar10.caffemodel")
CAT = str(ROOT / "examples/cat.png")
MEAN = np.array([113.9, 123.0, 125.3])
SETTINGS = dict(mean=MEAN, input_scale=1 / 64, raw_scale=255, channel_swap=(2, 1, 0))  # noqa: C408
Results = Mapping[str, Any]


def classify(caffe: Any, folder: Path) -> Results:
    """The notebook "Classification: Instant Recognition with Caffe"."""
    caffe.set_mode_cpu()
    net = caffe.Net(MODEL, WEIGHTS, caffe.TEST)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", MEAN)
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_input_scale("data", 1 / 64)
    net.blobs["data"].reshape(50, 3, 32, 32)
    square = caffe.io.load_image(CAT)[44:300, :256]
    square = square.reshape(64, 4, 64, 4, 3).mean(
        (1, 3)
    )  # the net was trained on smoothly shrunk photographs
    transformed = transformer.preprocess("data", square)
    net.blobs["data"].data[...] = transformed
    prob = net.forward()["prob"][0]
    assert net.blobs["fc6"].data.shape == (50, 256)
    labels = np.loadtxt(Path(MODEL).with_name("labels.txt"), str, delimiter="\t")
    top = prob.argsort()[::-1][:5]
    assert labels[top[0]] == "cat"
    shown = transformer.deprocess("data", net.blobs["data"].data[0])
    return {"input": transformed, "prob": prob, "top": top, "shown": shown} | look(net)


def look(net: Any) -> Results:
    """What the notebook shows: shapes, kernels, activations."""
    return {
        "blobs": [(name, tuple(blob.data.shape)) for name, blob in net.blobs.items()],
        "params": [(n, tuple(p[0].data.shape), tuple(p[1].data.shape)) for n, p in net.params.items()],
        "kernels": net.params["conv1"][0].data.transpose(0, 2, 3, 1).copy(),
        "conv1": net.blobs["conv1"].data[0, :36].copy(),
        "pool5": net.blobs["pool5"].data[0].copy(),
        "histogram": np.histogram(net.blobs["fc6"].data[0], bins=5, range=(0.01, 5))[0],
    }


def net_surgery(caffe: Any, folder: Path) -> Results:
    """The notebook "Net Surgery": filters edited, then fully connected layers cast into convolutions."""
    pb, net = caffe.proto.caffe_pb2, caffe.Net(MODEL, WEIGHTS, caffe.TEST)
    message = text_format.Parse(Path(MODEL).read_text(), pb.NetParameter())
    message.layer[0].input_param.shape[0].dim[:] = [1, 3, 48, 40]
    for layer in message.layer:
        if layer.type == "InnerProduct":
            outputs = layer.inner_product_param.num_output
            layer.ClearField("inner_product_param")
            layer.type, layer.convolution_param.num_output = "Convolution", outputs
            layer.convolution_param.kernel_size[:] = [4 if layer.name == "fc6" else 1]
            layer.name += "-conv"
    (folder / "full.prototxt").write_text(text_format.MessageToString(message))
    full = caffe.Net(str(folder / "full.prototxt"), WEIGHTS, caffe.TEST)
    for name in ("fc6", "fc7", "fc8"):
        full.params[f"{name}-conv"][0].data.flat = net.params[name][0].data.flat
        full.params[f"{name}-conv"][1].data[...] = net.params[name][1].data
    full.params["conv1"][1].data[0] += 1
    full.save(str(folder / "full.caffemodel"))
    again = caffe.Net(str(folder / "full.prototxt"), caffe.TEST, weights=str(folder / "full.caffemodel"))
    image = np.random.default_rng(0).normal(size=(1, 3, 48, 40))
    out = again.forward_all(data=image)["prob"]
    assert out.shape == (1, 10, 3, 2)
    net.params["conv1"][1].data[0] += 1
    with_copy = caffe.Net(MODEL, caffe.TEST)
    with_copy.share_with(net)
    assert (with_copy.params["conv1"][1].data == net.params["conv1"][1].data).all()
    return {"out": out, "saved": dict(layers_of(pb, folder / "full.caffemodel"))}


def layers_of(pb: Any, path: Path) -> list[tuple[str, Any]]:
    net = pb.NetParameter.FromString(path.read_bytes())
    return [(f"{x.name} {i}", np.array(b.data)) for x in net.layer for i, b in enumerate(x.blobs)]


def deep_dream(caffe: Any, folder: Path) -> Results:
    """The notebook "Deep Dreams": a Classifier with force_backward, stepped from an inner layer."""
    message = text_format.Parse(Path(MODEL).read_text(), caffe.proto.caffe_pb2.NetParameter())
    message.force_backward = True
    (folder / "tmp.prototxt").write_text(str(message))
    net = caffe.Classifier(
        str(folder / "tmp.prototxt"), WEIGHTS, mean=np.float32(MEAN), channel_swap=(2, 1, 0)
    )
    source, target = net.blobs["data"], net.blobs["conv3"]
    source.reshape(1, 3, 40, 36)
    source.data[0] = np.random.default_rng(0).normal(size=(3, 40, 36))
    for _ in range(3):
        net.forward(end="conv3")
        target.diff[:] = target.data
        net.backward(start="conv3")
        g = source.diff[0]
        source.data[:] += 0.05 / np.abs(g).mean() * g
    return {"dream": net.transformer.deprocess("data", source.data[0]), "conv3": target.data.copy()}


def predict(caffe: Any, folder: Path) -> Results:
    """python/classify.py: centre crop, ten crops, and images in batches that they do not fill."""
    net = caffe.Classifier(MODEL, WEIGHTS, image_dims=(40, 37), **SETTINGS)
    images = [caffe.io.load_image(CAT)[y:, y : y + 300] for y in range(0, 60, 20)]
    crops, centre = net.predict(images), net.predict(images, oversample=False)
    assert crops.shape == centre.shape == (3, 10)
    np.testing.assert_allclose(crops.sum(1), 1, rtol=1e-5)
    whole = caffe.Classifier(MODEL, WEIGHTS, **SETTINGS).predict(images[:1], oversample=False)
    return {"crops": crops, "centre": centre, "whole": whole}


def detect(caffe: Any, folder: Path) -> Results:
    """python/detect.py, with windows of one's own."""
    net = caffe.Detector(MODEL, WEIGHTS, **SETTINGS)
    windows = np.array([[0, 0, 300, 300], [20, 30, 120, 180]])
    found = net.detect_windows([(CAT, windows), (CAT, windows[:1])])
    assert [d["filename"] for d in found] == [CAT] * 3
    return {
        "windows": [list(map(int, d["window"])) for d in found],
        "predictions": [d["prediction"] for d in found],
    }


def extract_features(caffe: Any, folder: Path) -> Results:
    """Features of more images than a batch holds, a mean image in a binaryproto."""
    rng = np.random.default_rng(0)
    mean = caffe.io.array_to_blobproto(rng.random((1, 3, 64, 64)) * 200)
    (folder / "mean.binaryproto").write_bytes(mean.SerializeToString())
    blob = caffe.proto.caffe_pb2.BlobProto()
    blob.ParseFromString((folder / "mean.binaryproto").read_bytes())
    net = caffe.Net(MODEL, caffe.TEST, weights=WEIGHTS)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_mean("data", caffe.io.blobproto_to_array(blob)[0])
    images = np.stack([rng.random((3, 32, 32)) * 255 - transformer.mean["data"] for _ in range(23)]) / 64
    found = net.forward_all(data=images, blobs=["fc7", "conv5"])
    assert found["fc7"].shape == (23, 128)
    return {"mean": transformer.mean["data"], **found}


def gradients(caffe: Any, folder: Path) -> Results:
    """Gradients of a net that was written in Python, over several batches; what the module and its net say."""
    L, P, n = caffe.layers, caffe.params, caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[4, 2, 6, 6]))  # noqa: C408
    n.conv = L.Convolution(n.data, num_output=3, kernel_size=3, param=[dict(lr_mult=1), dict(lr_mult=2)])  # noqa: C408
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.AVE, global_pooling=True)
    message = n.to_proto()
    message.force_backward = True
    (folder / "net.prototxt").write_text(str(message))
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    rng = np.random.default_rng(0)
    for blob in net.params["conv"]:
        blob.data[...] = rng.normal(size=blob.data.shape)
    images, seeds = rng.normal(size=(10, 2, 6, 6)), rng.normal(size=(10, 3, 1, 1))
    data, diffs = net.forward_backward_all(blobs=["conv"], diffs=["conv"], data=images, pool=seeds)
    assert data["pool"].shape == (10, 3, 1, 1)
    assert diffs["data"].shape == images.shape
    return {
        **{f"data {name}": values for name, values in data.items()},
        **{f"diff {name}": values for name, values in diffs.items()},
        "weights": net.params["conv"][0].diff.copy(),
        "layers": [(name, layer.type, len(layer.blobs)) for name, layer in net.layer_dict.items()],
        "names": [list(net._layer_names), list(net._blob_names), list(net.inputs), list(net.outputs)],
        "tops": list(net.top_names.items()),
        "version": caffe.__version__,
    }


SCRIPTS = [classify, net_surgery, deep_dream, predict, detect, extract_features, gradients]


@cache
def results(script: Callable[[Any, Path], Results], engine: str) -> Results:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        return script(module(engine, patch), Path(folder))


def module(engine: str, patch: pytest.MonkeyPatch) -> Any:
    """That of an engine; `original` is real Caffe with its own Python files."""
    if engine != "original":
        return backend.module(engine)
    caffe = backend.module("caffe")
    restore(caffe, patch)
    return caffe


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_script_runs(script: Callable[[Any, Path], Results], engine: str) -> None:
    assert results(script, engine)


@pytest.mark.caffe
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_script_gives_what_caffe_as_it_was_gives(
    script: Callable[[Any, Path], Results], caffe: Any, engine: str
) -> None:
    compare(results(script, engine), results(script, "original"))


def compare(ours: Results, theirs: Results) -> None:
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        if isinstance(found, dict):
            compare(found, theirs[name])
        elif isinstance(found, np.ndarray):
            atol = 1e-4 * np.abs(theirs[name]).max()
            np.testing.assert_allclose(found, theirs[name], rtol=0, atol=atol, err_msg=name)
        elif name == "predictions":
            np.testing.assert_allclose(found, theirs[name], atol=1e-4)
        else:
            assert found == theirs[name], name


def test_every_name_of_real_caffe_is_there_or_said_to_be_missing(caffe: Any) -> None:
    ours = backend.module("torch")
    public = [n for n in dir(caffe) if not n.startswith("_") and n not in ("pycaffe", "original")]
    assert {"Net", "TEST", "io", "Detector"} <= set(public)
    assert [n for n in public if n not in ours.MISSING and not hasattr(ours, n)] == []
    for name in ours.MISSING:
        with pytest.raises(NotImplementedError, match=f"caffe.{name} is real Caffe's only"):
            getattr(ours, name)


def test_names_of_the_module() -> None:
    ours = backend.module("torch")
    assert (ours.TRAIN, ours.TEST) == (0, 1)
    assert all(hasattr(ours, name) for name in ours.__all__)
    assert {"Convolution", "Softmax"} <= set(ours.layer_type_list())
    assert (ours.solver_count(), ours.solver_rank(), ours.has_nccl()) == (1, 0, False)
    ours.set_solver_count(1), ours.set_solver_rank(0), ours.set_multiprocess(False)
    with pytest.raises(NotImplementedError, match="one process, on one device"):
        ours.set_solver_count(2)
    with pytest.raises(NotImplementedError, match=r"caffe\.NCCL is real Caffe's only"):
        ours.NCCL  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ours.nonsense  # noqa: B018


# Classifier and Detector by arithmetic: a net whose output is the mean of each channel, on any engine.
MEANS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
"""


@pytest.fixture
def means(tmp_path: Path) -> tuple[str, str]:
    ours, path = backend.module("torch"), str(tmp_path / "means")
    Path(f"{path}.prototxt").write_text(MEANS)
    net = ours.Net(f"{path}.prototxt", ours.TEST)
    net.params["ip"][0].data[...] = np.eye(3)
    net.save(f"{path}.caffemodel")
    return f"{path}.prototxt", f"{path}.caffemodel"


def test_classifier_by_arithmetic(engine: str, means: tuple[str, str]) -> None:
    """Channels swapped, times 10, minus the mean, halved."""
    caffe = backend.module(engine)
    net = caffe.Classifier(
        *means, mean=np.array([1.0, 2, 3]), input_scale=0.5, raw_scale=10, channel_swap=(2, 1, 0)
    )
    image = np.full((8, 8, 3), (0.1, 0.2, 0.4), np.float32)
    image[:4] *= 2  # the mean of the rows is 1.5 times
    expected = (np.array([6.0, 3, 1.5]) - [1, 2, 3]) / 2
    np.testing.assert_allclose(net.predict([image], oversample=False).ravel(), expected, rtol=1e-5)
    np.testing.assert_allclose(net.predict([image] * 3), [expected] * 3, rtol=1e-5)


def test_window_of_a_detector_shows_its_surroundings(engine: str, means: tuple[str, str]) -> None:
    """Window 4..7 of 8 pixels, 2 of context: its box is 2 windows wide and ends where the image does."""
    detector = backend.module(engine).Detector
    net = detector(*means, context_pad=2)
    image = np.arange(64.0, dtype=np.float32).reshape(8, 8, 1).repeat(3, 2)
    inner = net.crop(image, [2, 2, 5, 5])  # half 2, centre 4, reach 4: the box is 0..8
    assert inner.shape == (8, 8, 3)
    np.testing.assert_allclose(inner, image)


def test_what_lies_outside_of_an_image_is_its_mean(engine: str, means: tuple[str, str]) -> None:
    """At the corner, the box -4..4 has 9 pixels for 8 of the input: 4 * 8 / 9 are outside, rounded 4."""
    detector = backend.module(engine).Detector
    mean = np.array([10.0, 20, 30])
    net = detector(*means, mean=mean, raw_scale=10, channel_swap=(2, 1, 0), context_pad=2)
    crop = net.crop(np.full((8, 8, 3), 7, np.float32), [-2, -2, 1, 1])
    np.testing.assert_allclose(crop[:4], np.tile([3.0, 2, 1], (4, 8, 1)), rtol=1e-6)
    np.testing.assert_allclose(crop[4:, :4], np.tile([3.0, 2, 1], (4, 4, 1)), rtol=1e-6)
    np.testing.assert_allclose(crop[4:, 4:], 7, rtol=1e-6)


WRONG: dict[str, tuple[Callable[[Any, tuple[str, str]], Any], str]] = {
    "no images": (lambda c, m: c.Classifier(*m).predict([]), "no images were given"),
    "image_dims": (lambda c, m: c.Classifier(*m, image_dims=(6, 9)).predict([np.ones((9, 9, 3))], oversample=False), r"image_dims \[6 9\]: \[8 8\], the input's"),
    "ten crops": (lambda c, m: c.Classifier(*m, image_dims=(6, 9)).predict([np.ones((9, 9, 3))]), "crop of 8 x 8 does not fit into images of 6 x 9"),
    "mean": (lambda c, m: c.Classifier(*m, mean=np.ones(4)), r"mean of shape \(4,\)"),
    "no windows": (lambda c, m: c.Detector(*m).detect_windows([(CAT, [])]), "no windows were given"),
    "window": (lambda c, m: c.Detector(*m).detect_windows([(CAT, [(400, 0, 500, 50)])]), r"window \(400, 0, 500, 50\) holds nothing of an image of shape \(300, 451, 3\)"),
    "context": (lambda c, m: c.Detector(*m, context_pad=4), r"context_pad 4 leaves nothing of an input of \(8, 8\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said(case: str, engine: str, means: tuple[str, str]) -> None:
    call, words = WRONG[case]
    with pytest.raises(Exception, match=words) as caught:
        call(backend.module(engine), means)
    assert "InputError" in [kind.__name__ for kind in type(caught.value).__mro__]


def test_no_proposals_of_windows(engine: str, means: tuple[str, str]) -> None:
    with pytest.raises(NotImplementedError, match="give some to detect_windows"):
        backend.module(engine).Detector(*means).detect_selective_search([CAT])


def test_import_lines() -> None:
    from caffe_viz import caffe
    from caffe_viz.engine.proto import caffe_pb2
    from caffe_viz.engine.pycaffe import layers as L
    from caffe_viz.engine.pycaffe import params as P

    assert caffe.io.Transformer
    assert (
        L.Pooling(pool=P.Pooling.MAX).to_proto().layer[0].pooling_param.pool == caffe_pb2.PoolingParameter.MAX
    )
