"""The calls of Caffe's notebook on net surgery: filters written by hand, layers made convolutional."""

import sys

import matplotlib.pyplot as plt
import numpy as np

import caffe

folder, photograph, out = sys.argv[1:]
CONV = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 20 dim: 20 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 5
        weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 0 } } }
"""
DENSE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4 kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc6" type: "InnerProduct" bottom: "conv1" top: "fc6" inner_product_param { num_output: 6 } }
layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc7" top: "prob" }
"""
FULL = (
    DENSE.replace("dim: 12 dim: 12", "dim: 24 dim: 20").replace("InnerProduct", "Convolution")
    .replace("inner_product_param { num_output: 6", "convolution_param { num_output: 6 kernel_size: 5")
    .replace("inner_product_param { num_output: 5", "convolution_param { num_output: 5 kernel_size: 1")
    .replace('name: "fc6"', 'name: "fc6-conv"').replace('name: "fc7"', 'name: "fc7-conv"')
)  # fmt: skip
for name, text in (("conv", CONV), ("dense", DENSE), ("full", FULL)):
    with open(name + ".prototxt", "w") as f:
        f.write(text)

caffe.set_mode_cpu()
net = caffe.Net("conv.prototxt", caffe.TEST)
print("blobs {}\nparams {}".format(net.blobs.keys(), net.params.keys()))
im = np.array(caffe.io.load_image(photograph, color=False)).squeeze()
plt.title("original image")
plt.imshow(im)
im_input = im[np.newaxis, np.newaxis, :40, :30]
net.blobs["data"].reshape(*im_input.shape)
net.blobs["data"].data[...] = im_input


def show_filters(net):
    net.forward()
    low, high = net.blobs["conv"].data.min(), net.blobs["conv"].data.max()
    plt.figure()
    for i in range(3):
        plt.subplot(1, 4, i + 2)
        plt.imshow(net.blobs["conv"].data[0, i], vmin=low, vmax=high)


rng = np.random.RandomState(1)
net.params["conv"][0].data[...] = rng.randn(3, 1, 5, 5) / 5
show_filters(net)
conv0 = net.blobs["conv"].data[0, 0]
before = conv0.mean()
net.params["conv"][1].data[0] = 1.0
net.forward()
np.testing.assert_allclose(conv0.mean() - before, 1, rtol=1e-5)  # the array is the blob, not a copy

ksize = net.params["conv"][0].data.shape[2:]
y, x = np.mgrid[-ksize[0] // 2 + 1 : ksize[0] // 2 + 1, -ksize[1] // 2 + 1 : ksize[1] // 2 + 1]
g = np.exp(-((x**2 + y**2) / 2.0))
net.params["conv"][0].data[0] = (g / g.sum()).astype(np.float32)
net.params["conv"][0].data[1:] = 0.0
sobel = np.array((-1, -2, -1, 0, 0, 0, 1, 2, 1), dtype=np.float32).reshape((3, 3))
net.params["conv"][0].data[1, 0, 1:-1, 1:-1] = sobel
net.params["conv"][0].data[2, 0, 1:-1, 1:-1] = sobel.T
show_filters(net)
maps = net.blobs["conv"].data.copy()

net = caffe.Net("dense.prototxt", caffe.TEST)
for blob in (blob for blobs in net.params.values() for blob in blobs):
    blob.data[...] = rng.randn(*blob.data.shape) / 3
net.save("dense.caffemodel")
net = caffe.Net("dense.prototxt", "dense.caffemodel", caffe.TEST)
params = ["fc6", "fc7"]
fc_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
net_full_conv = caffe.Net("full.prototxt", "dense.caffemodel", caffe.TEST)
params_full_conv = ["fc6-conv", "fc7-conv"]
conv_params = {
    pr: (net_full_conv.params[pr][0].data, net_full_conv.params[pr][1].data) for pr in params_full_conv
}
for fc, conv in zip(params, params_full_conv):
    print("{} weights are {}, {} {}".format(fc, fc_params[fc][0].shape, conv, conv_params[conv][0].shape))
    conv_params[conv][0].flat = fc_params[fc][0].flat
    conv_params[conv][1][...] = fc_params[fc][1]
net_full_conv.save("full.caffemodel")

im = caffe.io.load_image(photograph)
transformer = caffe.io.Transformer({"data": net_full_conv.blobs["data"].data.shape})
transformer.set_mean("data", np.array([0.4, 0.5, 0.6]))
transformer.set_transpose("data", (2, 0, 1))
transformer.set_channel_swap("data", (2, 1, 0))
transformer.set_raw_scale("data", 2.0)
given = transformer.preprocess("data", im)
found = net_full_conv.forward_all(data=np.asarray([given]))
print(found["prob"][0].argmax(axis=0))
plt.subplot(1, 2, 1)
plt.imshow(transformer.deprocess("data", net_full_conv.blobs["data"].data[0]).clip(0, 1))
plt.subplot(1, 2, 2)
plt.imshow(found["prob"][0, 2])
net.blobs["data"].data[...] = given[:, :12, :12]
np.testing.assert_allclose(net.forward()["prob"][0], found["prob"][0, :, 0, 0], rtol=1e-4)
np.savez(out, maps=maps, map=found["prob"])
