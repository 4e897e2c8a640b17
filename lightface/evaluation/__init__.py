"""Figures that can be trusted: how well a network does on pairs and people, and which threshold to take."""
