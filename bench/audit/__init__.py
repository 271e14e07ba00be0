"""Checking what others hand in: every figure that follows from stored images and weights, computed again."""
