"""Keys and values of the steps that a predictor has already seen, so that a rollout of H steps costs H steps.

Letters: B batch, N tokens, h heads, d size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """Keys and values that one attention layer has seen, each (B, h, past, d); None before the first tokens."""

    def __init__(self, capacity: int | None = None) -> None:
        """Begin empty.

        Args:
            capacity: how many tokens will come in all. Memory for them is then taken once and written into, which
                gradients do not survive. None: every call takes new memory for all tokens, and gradients flow.
        """
        self.capacity = capacity
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._memory: tuple[Tensor, Tensor] | None = None

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens (B, h, N, d) and return those of all, (B, h, past + N, d)."""
        if self.capacity is not None:
            k, v = self._write(k, v, self.capacity)
        elif self.keys is not None and self.values is not None:
            k, v = torch.cat((self.keys, k), dim=2), torch.cat((self.values, v), dim=2)
        self.keys, self.values = k, v
        return k, v

    def _write(self, k: Tensor, v: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
        if self._memory is None:
            batch, heads, _, size = k.shape
            self._memory = k.new_empty(batch, heads, capacity, size), v.new_empty(batch, heads, capacity, size)
        start = 0 if self.keys is None else self.keys.shape[2]
        end = start + k.shape[2]
        for memory, new in zip(self._memory, (k, v), strict=True):
            memory[:, :, start:end] = new
        return self._memory[0][:, :, :end], self._memory[1][:, :, :end]


class KeyValueCache:
    """Keys and values of the steps a predictor has already seen, one layer's per block."""

    def __init__(self, capacity: int | None = None) -> None:
        """Begin empty.

        Args:
            capacity: of each layer, see `LayerCache`.
        """
        self.capacity = capacity
        self.steps = 0
        self.tokens_per_step = 0
        self._layers: list[LayerCache] = []

    def layer(self, index: int) -> LayerCache:
        """Return what block `index` has seen; the blocks are asked for in turn."""
        if index == len(self._layers):
            self._layers.append(LayerCache(self.capacity))
        return self._layers[index]

    def add_steps(self, steps: int, tokens_per_step: int) -> None:
        """Note that the blocks are about to see so many more steps.

        Raises:
            ValueError: if other tokens were cached than come now.
        """
        if self.steps and self.tokens_per_step != tokens_per_step:
            raise ValueError(
                f"every step must have the {self.tokens_per_step} tokens of the cached ones, got {tokens_per_step}"
            )
        self.steps, self.tokens_per_step = self.steps + steps, tokens_per_step

    def select(self, index: Tensor, capacity: int | None) -> KeyValueCache:
        """Make a cache whose batch is that of these entries of this one's; what it sees later, this one does not.

        Args:
            index: which entries of the batch, (B,) integers.
            capacity: of the new cache's layers.

        Returns:
            A cache that has seen as many steps.
        """
        chosen = KeyValueCache(capacity)
        chosen.steps, chosen.tokens_per_step = self.steps, self.tokens_per_step
        for number, layer in enumerate(self._layers):
            if layer.keys is not None and layer.values is not None:
                chosen.layer(number).extend(layer.keys[index], layer.values[index])
        return chosen
