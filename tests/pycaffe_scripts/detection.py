"""The calls of Caffe's detect.py and of its notebook: windows of a photograph, the best without their like."""

import sys

import matplotlib.pyplot as plt
import numpy as np

import caffe

folder, photograph, out = sys.argv[1:]
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 3 dim: 24 dim: 24 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 5 stride: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc-rcnn" type: "InnerProduct" bottom: "conv" top: "fc-rcnn" inner_product_param { num_output: 4 } }
"""
with open("net.prototxt", "w") as f:
    f.write(NET)
net = caffe.Net("net.prototxt", caffe.TEST)
rng = np.random.RandomState(0)
for blob in (blob for blobs in net.params.values() for blob in blobs):
    blob.data[...] = rng.randn(*blob.data.shape) / 10
net.save("net.caffemodel")

caffe.set_mode_cpu()
detector = caffe.Detector(
    "net.prototxt", "net.caffemodel", mean=np.array([104.0, 117.0, 123.0]), input_scale=None, raw_scale=255.0,
    channel_swap=[2, 1, 0], context_pad=4,
)  # fmt: skip
corners = rng.randint(0, 100, (7, 2))
windows = np.hstack([corners, corners + rng.randint(30, 150, (7, 2))])
images_windows = [(photograph, windows[:4]), (photograph, windows[4:])]
detections = detector.detect_windows(images_windows)
print("Processed {} windows.".format(len(detections)))
scores = np.vstack([d["prediction"] for d in detections])
boxes = np.vstack([d["window"] for d in detections])
assert [d["filename"] for d in detections] == [photograph] * 7
plt.matshow(scores)


def suppressed(dets, overlap=0.3):
    y1, x1, y2, x2, score = dets.T
    area, left, pick = (x2 - x1) * (y2 - y1), np.argsort(score), []
    while len(left):
        i, left = left[-1], left[:-1]
        pick.append(i)
        w = np.maximum(0.0, np.minimum(x2[i], x2[left]) - np.maximum(x1[i], x1[left]))
        h = np.maximum(0.0, np.minimum(y2[i], y2[left]) - np.maximum(y1[i], y1[left]))
        left = left[w * h / (area[i] + area[left] - w * h) <= overlap]
    return dets[pick]


best = suppressed(np.hstack([boxes, scores[:, 1:2]]))
plt.imshow(plt.imread(photograph))
plt.gca().add_patch(plt.Rectangle((best[0, 1], best[0, 0]), 10, 10, fill=False, edgecolor="r", linewidth=5))
np.savez(out, scores=scores, best=best)
