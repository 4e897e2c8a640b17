"""Offline face recognition on LightCNN."""

__version__ = "0.1.0"
