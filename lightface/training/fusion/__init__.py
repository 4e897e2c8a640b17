"""Faster training steps on the CPU: batch normalisation, maximum and pooling as one layer.

Much of a step of LightCNN on a CPU is not arithmetic but reading and writing maps. `layers.fuse_layers` exchanges the
layers of a network for ones that compute the same through kernels.cpp, which is built on first use.
"""
