"""Train LightCNN: data, augmentation, objectives, the loop, export.

`lightface.training.loop.train` is the way in; nothing else of lightface imports this package, but the command line.
"""
