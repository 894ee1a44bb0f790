"""The calls of Caffe's notebook on classification: a photograph to a class, and what the net holds then."""

import os
import sys

import matplotlib.pyplot as plt
import numpy as np

plt.rcParams["image.interpolation"] = "nearest"
plt.rcParams["image.cmap"] = "gray"

caffe_root = "../"
sys.path.insert(0, caffe_root + "python")

import caffe

folder, photograph, out = sys.argv[1:]
assert os.path.isfile(folder + "/caffenet_cifar10.caffemodel")
caffe.set_mode_cpu()
net = caffe.Net(folder + "/deploy.prototxt", folder + "/caffenet_cifar10.caffemodel", caffe.TEST)

rng = np.random.RandomState(0)
np.save("mean.npy", rng.rand(3, 64, 64) * 4 + np.array([112.0, 121.0, 123.0])[:, None, None])
mu = np.load("mean.npy").mean(1).mean(1)
print("mean-subtracted values:", list(zip("BGR", mu)))
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", mu)
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))
net.blobs["data"].reshape(4, 3, 32, 32)

image = caffe.io.load_image(photograph)
transformed_image = transformer.preprocess("data", image)
plt.imshow(image)
net.blobs["data"].data[...] = transformed_image
output = net.forward()
output_prob = output["prob"][0].copy()
labels = np.loadtxt(folder + "/labels.txt", str, delimiter="\t")
print("predicted class is:", output_prob.argmax(), labels[output_prob.argmax()])
top_inds = output_prob.argsort()[::-1][:5]
print(list(zip(output_prob[top_inds], labels[top_inds])))

for layer_name, blob in net.blobs.items():
    print(layer_name + "\t" + str(blob.data.shape))
for layer_name, param in net.params.items():
    print(layer_name + "\t" + str(param[0].data.shape), str(param[1].data.shape))


def tiled(data):
    data = (data - data.min()) / (data.max() - data.min())
    n = int(np.ceil(np.sqrt(data.shape[0])))
    around = ((0, n**2 - data.shape[0]), (0, 1), (0, 1)) + ((0, 0),) * (data.ndim - 3)
    data = np.pad(data, around, mode="constant", constant_values=1)
    data = data.reshape((n, n) + data.shape[1:]).transpose((0, 2, 1, 3) + tuple(range(4, data.ndim + 1)))
    data = data.reshape((n * data.shape[1], n * data.shape[3]) + data.shape[4:])
    plt.imshow(data)
    plt.axis("off")
    return data


filters = tiled(net.params["conv1"][0].data.transpose(0, 2, 3, 1))
conv1 = tiled(net.blobs["conv1"].data[0, :36])
feat = net.blobs["fc6"].data[0]
plt.subplot(2, 1, 1)
plt.plot(feat.flat)
plt.subplot(2, 1, 2)
_ = plt.hist(feat.flat[feat.flat > 0], bins=100)

net.blobs["data"].data[...] = transformer.preprocess("data", image[::-1])
net.forward()
np.savez(
    out,
    input=transformed_image,
    prob=output_prob,
    filters=filters,
    conv1=conv1,
    turned=net.blobs["prob"].data,
)
