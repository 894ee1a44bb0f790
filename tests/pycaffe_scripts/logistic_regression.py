"""The calls of Caffe's notebook on logistic regression: nets and a solver written in Python, data in HDF5."""

import os
import sys

import h5py
import numpy as np

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

out = sys.argv[3]
rng = np.random.RandomState(0)
X = rng.randn(200, 4)
y = (X[:, 0] - X[:, 2] > 0.2).astype(int)
X, Xt, y, yt = X[:150], X[150:], y[:150], y[150:]
dirname = os.path.abspath("data")
os.makedirs(dirname)
with h5py.File(os.path.join(dirname, "train.h5"), "w") as f:
    f["data"] = X
    f["label"] = y.astype(np.float32)
with open(os.path.join(dirname, "train.txt"), "w") as f:
    f.write(os.path.join(dirname, "train.h5") + "\n" + os.path.join(dirname, "train.h5") + "\n")
with h5py.File(os.path.join(dirname, "test.h5"), "w") as f:
    f.create_dataset("data", data=Xt, compression="gzip", compression_opts=1)
    f.create_dataset("label", data=yt.astype(np.float32), compression="gzip", compression_opts=1)
with open(os.path.join(dirname, "test.txt"), "w") as f:
    f.write(os.path.join(dirname, "test.h5") + "\n")


def logreg(hdf5, batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=batch_size, source=hdf5, ntop=2)
    n.ip1 = L.InnerProduct(n.data, num_output=6, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.ip1, num_output=2, weight_filler=dict(type="xavier"))
    n.accuracy = L.Accuracy(n.ip2, n.label)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


for part, batch in (("train", 10), ("test", 25)):
    with open(part + ".prototxt", "w") as f:
        f.write(str(logreg(os.path.join(dirname, part + ".txt"), batch)))
assert P.Pooling.MAX == 0

s = caffe_pb2.SolverParameter()
s.train_net = "train.prototxt"
s.test_net.append("test.prototxt")
s.test_interval = 20
s.test_iter.append(2)
s.max_iter = 40
s.base_lr = 0.1
s.lr_policy = "step"
s.gamma = 0.1
s.stepsize = 25
s.momentum = 0.9
s.weight_decay = 5e-4
s.display = 20
s.snapshot = 40
s.snapshot_prefix = os.path.join(dirname, "train")
s.solver_mode = caffe_pb2.SolverParameter.CPU
with open("solver.prototxt", "w") as f:
    f.write(str(s))

caffe.set_mode_cpu()
solver = caffe.get_solver("solver.prototxt")
for blob in (blob for blobs in solver.net.params.values() for blob in blobs):
    blob.data[...] = rng.randn(*blob.data.shape) / 3
solver.solve()
accuracy = 0
batch_size = solver.test_nets[0].blobs["data"].num
test_iters = int(len(Xt) / batch_size)
for i in range(test_iters):
    solver.test_nets[0].forward()
    accuracy += solver.test_nets[0].blobs["accuracy"].data
accuracy /= test_iters
print("Accuracy: {:.3f}".format(accuracy))
assert accuracy > 0.8
assert os.path.exists(os.path.join(dirname, "train_iter_40.caffemodel"))
np.savez(
    out,
    ip1=solver.net.params["ip1"][0].data,
    ip2=solver.net.params["ip2"][0].data,
    loss=solver.net.blobs["loss"].data,
)
