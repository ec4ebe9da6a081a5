import itertools

import torch

from vjepa_wm.data.randomness import generator_for


def draw(*place):
    return tuple(torch.rand(4, generator=generator_for(*place)).tolist())


def test_every_number_of_a_place_matters():
    places = list(itertools.product((0, 1, 2**33), repeat=3))
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(1, 2) == draw(1, 2) != draw(2, 1)
