"""The calls of Caffe's draw_net.py, and arrays to messages and back as scripts about data sets do it."""

import sys

import numpy as np
from google.protobuf import text_format

import caffe
import caffe.draw
from caffe.proto import caffe_pb2

folder, photograph, out = sys.argv[1:]
net = caffe_pb2.NetParameter()
text_format.Merge(open(folder + "/deploy.prototxt").read(), net)
caffe.draw.draw_net_to_file(net, "net.png", "TB", caffe.TEST, True)
assert open("net.png", "rb").read(8) == b"\x89PNG\r\n\x1a\n"
text = caffe.draw.get_pydot_graph(net, "LR", label_edges=True, phase=None, display_lrm=False).to_string()
assert caffe.draw.draw_net(net, "LR", "raw").decode() == text

image = (caffe.io.load_image(photograph)[:6, :5] * 255).astype(np.uint8).transpose(2, 0, 1)
datum = caffe.io.array_to_datum(image, 3)
again = caffe_pb2.Datum()
again.ParseFromString(datum.SerializeToString())
floats = caffe.io.datum_to_array(caffe.io.array_to_datum(image / 7.0))
mean = caffe_pb2.BlobProto()
mean.ParseFromString(caffe.io.array_to_blobproto(image[np.newaxis] / 2.0).SerializeToString())
vector = caffe.io.arraylist_to_blobprotovector_str([image * 1.0, floats])
first, second = caffe.io.blobprotovector_str_to_arraylist(vector)
np.savez(
    out, text=np.frombuffer(text.encode(), np.uint8), datum=caffe.io.datum_to_array(again), label=again.label, floats=floats,
    mean=caffe.io.blobproto_to_array(mean), first=first, second=second,
    small=caffe.io.resize_image(image.transpose(1, 2, 0) / 255.0, (3, 4)),
    ten=caffe.io.oversample([image.transpose(1, 2, 0)], (2, 2)),
)  # fmt: skip
