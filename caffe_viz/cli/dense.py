"""Commands on nets that answer with places in the image."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.images import Images
from caffe_viz.cli.networks import Running, command
from caffe_viz.cli.options import Json, Output
from caffe_viz.cli.parts import print_files

if TYPE_CHECKING:
    from caffe_viz.segmentation import Segmented


@command
def segment(
    net: Running,
    image: Images,
    blob: Annotated[
        str | None, typer.Option(metavar="BLOB", help="What says the class of each pixel [default: the net's answer].")
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """The class of each pixel: in colours over the image, alone, and as a map of class numbers."""
    from caffe_viz.files import need_folder, stems
    from caffe_viz.segmentation import Segmenter, dense_answer
    from caffe_viz.views.classified import described
    from caffe_viz.views.segmented import need_one, save_segmented

    need_folder(output)
    whole = net.given()
    given, album = whole.album(image, dense_answer(whole, blob).blob)
    segmenter = Segmenter(given, album, blob)
    if not as_json:
        print(f"preprocessing: {described(segmenter.network)}")
        print(f"classes of pixels: {segmenter.dense.blob}, {segmenter.dense.meaning.value}; engine: {segmenter.engine}")
    for doubt in segmenter.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    names = stems(map(album.name, range(len(album))))
    interrupted = False
    try:
        for one, stem in zip(segmenter, names, strict=True):
            if one.failed:
                rows.append({"image": one.image, "failed": one.failed})
                if len(album) > 1:  # the only one's failure is the command's
                    print(f"passed over: {one.failed}", file=sys.stderr)
                continue
            paths = save_segmented(one, output, stem)
            rows.append(_as_json(one) | {"files": list(map(str, paths))})
            if not as_json:
                _say(one)
                print_files(paths)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        made = {"engine": segmenter.engine, "blob": segmenter.dense.blob, "warnings": segmenter.doubts}
        print(json.dumps(made | {"images": rows}))
    if interrupted:
        print(f"interrupted after {len(rows)} images", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    need_one(row.get("failed", "") for row in rows)


def _say(one: Segmented) -> None:
    print(one.image)
    for x in one.shares:
        print(f"{100 * x.share:6.2f} %  {x.number}  {x.name}".rstrip(), flush=True)


def _as_json(one: Segmented) -> dict[str, Any]:
    classes = [{"index": x.number, "label": x.name, "pixels": x.pixels, "share": x.share} for x in one.shares]
    height, width = one.labels.shape
    return {"image": one.image, "height": height, "width": width, "void": one.void, "classes": classes}
