"""What an agent that sees pictures knows: latents of what it saw lately, the robot's states, the latent of the goal.

Letters: T context frames, N tokens per frame, D width, P state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.models.world_model import WorldModel


class Perception:
    """The pictures of an episode as latents.

    Attributes:
        device: where latents are.
        z_goal: latent of the goal picture, (N, D).
    """

    def __init__(self, world_model: WorldModel, context_frames: int = 1) -> None:
        """Keep the encoder.

        Args:
            world_model: gives latents of pictures.
            context_frames: most recent frames that are kept.
        """
        self._world_model = world_model
        self.device = next(world_model.parameters()).device
        self._z_goal: Tensor | None = None
        self._seen: deque[tuple[Tensor, Tensor]] = deque(maxlen=context_frames)

    def begin(self, goal_image: np.ndarray) -> None:
        """Begin an episode: forget what was seen, and look at the goal picture, (H, W, 3) uint8."""
        self._seen.clear()
        self.show_goal(goal_image)

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Look at another goal picture, (H, W, 3) uint8."""
        self._z_goal = self.encode_image(goal_image)

    def see(self, image: np.ndarray, state: np.ndarray) -> None:
        """Take in a picture (H, W, 3) uint8 and the state of the robot at the same moment (P,)."""
        self._seen.append((self.encode_image(image), torch.tensor(state, dtype=torch.float32, device=self.device)))

    @property
    def z_goal(self) -> Tensor:
        """Latent of the goal picture, (N, D)."""
        if self._z_goal is None:
            raise RuntimeError("reset(goal_image, seed) must be called before the first action")
        return self._z_goal

    @property
    def z(self) -> Tensor:
        """Latent of the last picture, (N, D)."""
        return self._seen[-1][0]

    @property
    def state(self) -> Tensor:
        """State of the robot at the last picture, (P,)."""
        return self._seen[-1][1]

    def context(self) -> tuple[Tensor, Tensor]:
        """Return the latents (T, N, D) and states (T, P) of the frames that are kept."""
        z, states = (torch.stack(parts) for parts in zip(*self._seen, strict=True))
        return z, states

    def encode_image(self, image: np.ndarray) -> Tensor:
        """Encode one picture to (N, D).

        Raises:
            ValueError: if it is not uint8 (H, W, 3).
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"pictures must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        return self.encode(image[None, None])[0, 0]

    def encode(self, frames: np.ndarray) -> Tensor:
        """Encode frames (B, T, H, W, 3) uint8 to (B, T, N, D)."""
        with one_thread():
            # a copy, since frames may be read-only views of a renderer's buffer
            return self._world_model.encode(torch.tensor(frames, device=self.device))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread meanwhile.

    With more, the patch embedding's long sums are added up in another order, and plans, which amplify the last digits,
    would depend on how many processes share a machine. What is imagined does not change with the threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
