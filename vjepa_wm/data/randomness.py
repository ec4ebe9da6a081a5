"""Sources of randomness that depend on where a draw stands, never on what was drawn before it.

A run that is resumed in the middle, or shared out over processes, then draws what it would have drawn.
"""

from __future__ import annotations

import numpy as np
import torch


def generator_for(*place: int) -> torch.Generator:
    """Return the generator of one place, such as (seed, purpose, number of the sample).

    Args:
        place: numbers from 0 on; each of them matters. (A torch generator by itself heeds the low 32 bits of its seed
            only, so numbers must not be packed into one.)
    """
    return torch.Generator().manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
