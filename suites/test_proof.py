"""The proof, outside the eleven: up to how many lit pixels no image fools the final network.

It informs, and fails only where `--prove K` asks for more. An attack that found what is proved not to exist ends
the run.
"""


def test_proved_to(proof):
    proof()
