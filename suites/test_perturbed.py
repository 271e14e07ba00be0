"""Perturbed real images, outside the eleven: how strongly may a fooling image be added to a real one?

It informs: the test passes when that was measured, whatever came out.
"""


def test_perturbed(perturbed):
    perturbed()
