"""Figures of pairs and people, for training and for evaluation: metrics, their intervals, and which pairs there are."""
