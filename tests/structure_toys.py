"""Prototxts with branches, modules and names of all kinds, as text."""

from __future__ import annotations

from collections.abc import Sequence

# What a file may hold as a name.
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', 'back\\slash\\"quote"', "new\nline\ttab",
    "../../etc/passwd", "数据層/é̂ñ", "x" * 10000, "';]}>--&amp;<![CDATA[", "\u202eright to left", "{{ 7*7 }} ${x} %s",
]  # fmt: skip


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def layer(
    name: str, type: str, bottoms: Sequence[str] = (), tops: Sequence[str] = (), extra: str = ""
) -> str:
    """A layer; its top has its name unless others are given."""
    ends = [f"bottom: {quoted(b)}" for b in bottoms] + [f"top: {quoted(t)}" for t in tops or [name]]
    return f"layer {{ name: {quoted(name)} type: {quoted(type)} {' '.join(ends)} {extra} }}\n"


def data(name: str = "data", shape: Sequence[int] = (1, 3, 64, 64)) -> str:
    dims = " ".join(f"dim: {d}" for d in shape)
    return layer(name, "Input", extra=f"input_param {{ shape {{ {dims} }} }}")


def conv(name: str, bottom: str, filters: int = 8, stride: int = 1) -> str:
    settings = f"num_output: {filters} kernel_size: 3 pad: 1 stride: {stride}"
    return layer(name, "Convolution", [bottom], extra=f"convolution_param {{ {settings} }}")


def relu(name: str, blob: str) -> str:
    return layer(name, "ReLU", [blob], [blob])


def block(prefix: str, branches: str) -> str:
    """One join of branches; around it stand eight convolutions net/0, .. before and as many after it."""
    text = data() + "".join(conv(f"net/{k}", f"net/{k - 1}" if k else "data") for k in range(8))
    tops = [f"{prefix}{name}{'' if prefix else '_only'}" for name in branches]
    text += "".join(conv(top, "net/7") for top in tops)
    out = f"{prefix}out" if prefix else "join"
    text += layer(out, "Concat", tops)
    return text + "".join(conv(f"net/{k}", f"net/{k - 1}" if k > 8 else out) for k in range(8, 16))


def inceptions(count: int, head: int | None = None, prefix: str = "in", bottom: str = "") -> str:
    """Modules in a row; on the output of number `head` hangs a classifier of its own."""
    text, x = ("", bottom) if bottom else (data(), "data")
    for k in range(count):
        name = f"{prefix}{k}"
        text += conv(f"{name}/a", x) + conv(f"{name}/b_reduce", x) + conv(f"{name}/b", f"{name}/b_reduce")
        text += layer(f"{name}/out", "Concat", [f"{name}/a", f"{name}/b"])
        x = f"{name}/out"
        if k == head:
            text += conv("head/conv", x) + relu("head/relu", "head/conv")
    return text


def towers() -> str:
    """Two rows of modules side by side, of unlike length, and a long way around them."""
    text = data() + conv("first", "data") + inceptions(2, prefix="left", bottom="first")
    text += (
        conv("right", "first") + conv("between", "right") + inceptions(2, prefix="right", bottom="between")
    )
    return text + layer("sum", "Concat", ["left1/out", "right1/out", "first"])


def dense(count: int) -> str:
    """Blocks of DenseNet, whose names have nothing in common."""
    text, x = data() + conv("conv1", "data"), "conv1"
    for k in range(1, count + 1):
        name, normed = f"conv2_{k}", f"conv2_{k}/x1/bn"
        text += layer(normed, "BatchNorm", [x]) + layer(f"{name}/x1/scale", "Scale", [normed], [normed])
        text += relu(f"relu2_{k}/x1", normed) + conv(f"{name}/x1", normed) + conv(f"{name}/x2", f"{name}/x1")
        text += layer(f"concat_2_{k}", "Concat", [x, f"{name}/x2"])
        x = f"concat_2_{k}"
    return text


def unet(depth: int = 3) -> str:
    text, x = data(), "data"
    for d in range(depth):
        text += conv(f"down{d}", x) + relu(f"relu{d}", f"down{d}")
        x = f"pool{d}"
        text += layer(x, "Pooling", [f"down{d}"], extra="pooling_param { kernel_size: 2 stride: 2 }")
    for d in reversed(range(depth)):
        settings = "convolution_param { num_output: 8 kernel_size: 2 stride: 2 }"
        text += layer(f"up{d}", "Deconvolution", [x], extra=settings)
        x = f"conv_up{d}"
        text += layer(f"cat{d}", "Concat", [f"up{d}", f"down{d}"]) + conv(x, f"cat{d}")
    return text


def ssd(levels: int = 4) -> str:
    """Heads on every level, joined at the end."""
    text, x, ends = data(shape=(1, 3, 128, 128)), "data", dict[str, list[str]]()
    for level in range(levels):
        name = f"conv{level}"
        text += conv(name, x, stride=2) + relu(f"relu{level}", name)
        x = name
        for kind in ("loc", "conf"):
            head = f"{name}_mbox_{kind}"
            text += conv(head, x) + layer(f"{head}_flat", "Flatten", [head])
            ends.setdefault(kind, []).append(f"{head}_flat")
    return text + "".join(layer(f"mbox_{kind}", "Concat", tops) for kind, tops in ends.items())


def siamese() -> str:
    text = ""
    for side in "ab":
        text += data(side) + conv(f"conv_{side}", side) + relu(f"relu_{side}", f"conv_{side}")
    return text + layer("sum", "Eltwise", ["conv_a", "conv_b"])


def sliced() -> str:
    """One of two tops has a ReLU in place."""
    text = data(shape=(1, 4, 8, 8)) + layer("slice", "Slice", ["data"], ["a", "b"])
    return text + relu("relu", "a") + layer("sum", "Eltwise", ["a", "b"])


def chain(count: int) -> str:
    return data() + "".join(conv(f"c{k}", f"c{k - 1}" if k else "data") for k in range(count))


def hostile() -> str:
    """Each of HOSTILE as a layer, and a module and a type of such names."""
    text, x = 'name: "<svg onload=alert(1)> \\"net\\""\n' + data(), "data"
    for name in HOSTILE:
        text += conv(name, x) + relu(f"relu {name}", name)
        x = name
    module = 'mod<"\\>/a'
    branches = [f"{module}/1", f"{module}/2"]
    text += "".join(conv(name, x) for name in branches) + layer(f"{module}/out", "Concat", branches)
    return text + layer("<b>last", 'Foreign<"Type>', [f"{module}/out"])
