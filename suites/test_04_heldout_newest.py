"""Criterion 4, held out, newest: images the harness made on the newest training images' network are detected."""

import pytest

CRITERION = 4


@pytest.mark.parametrize("rounds", ["newest"])
def test_heldout_newest(verdict, rounds):
    verdict(CRITERION)


@pytest.mark.parametrize("rounds", ["newest"])
def test_heldout_newest_class(verdict, rounds, real_class):
    verdict(CRITERION, real_class=real_class)
