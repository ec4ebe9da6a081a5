"""The latent world model: a frozen video encoder and an action-conditioned predictor.

Letters: B batch, E episodes, K candidates of each, T steps, H horizon, N tokens per frame, D width, A action, P state.

Source: V-JEPA 2 (arXiv 2506.09985), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import WORLD_MODEL, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.layers import normalize_features
from vjepa_wm.models.pixels import fit_channels, prepare_frames
from vjepa_wm.models.pose import integrate_pose, pose_difference
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.rollout import roll_out


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """The parts of a `WorldModel`."""

    encoder: VideoEncoderConfig
    """The frozen video encoder."""
    predictor: ActionConditionedPredictorConfig
    """The action-conditioned predictor."""
    antialias: bool = True
    """Whether pictures are resized with antialiasing; V-JEPA 2-AC was trained without."""
    proposal: ProposalConfig | None = None
    """What proposes actions toward a goal; None: nothing does."""

    def __post_init__(self) -> None:
        if self.encoder.embed_dim != self.predictor.encoder_dim:
            raise ValueError(
                f"predictor.encoder_dim must equal encoder.embed_dim {self.encoder.embed_dim}, "
                f"got {self.predictor.encoder_dim}"
            )
        rows, columns = self.encoder.patch_grid
        if rows != columns:
            raise ValueError(f"encoder must have as many rows as columns of patches, got {rows} and {columns}")
        if self.proposal is not None:
            wanted = (rows * columns, self.encoder.embed_dim, self.predictor.action_dim)
            got = (self.proposal.num_tokens, self.proposal.encoder_dim, self.proposal.action_dim)
            if got != wanted:
                raise ValueError(
                    f"proposal must have num_tokens, encoder_dim and action_dim {wanted} of encoder and predictor, "
                    f"got {got}"
                )


class WorldModel(nn.Module):
    """Encode camera frames and imagine what actions make of them."""

    def __init__(self, config: WorldModelConfig) -> None:
        """Draw the weights of a new world model; those of the encoder are frozen.

        Args:
            config: its parts.
        """
        super().__init__()
        self.config = config
        self.encoder = VideoEncoder(config.encoder).requires_grad_(False)
        self.predictor = ActionConditionedPredictor(config.predictor)
        self.proposal = None if config.proposal is None else Proposal(config.proposal)

    def attach_proposal(self, proposal: Proposal) -> None:
        """Make a proposal part of this world model, in place of the one it has.

        Raises:
            ValueError: if it is of another encoder, or of other actions.
        """
        self.config = replace(self.config, proposal=proposal.config)
        self.proposal = proposal

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode every frame on its own, as V-JEPA 2-AC does: repeated to fill a tubelet, features normalised.

        Args:
            frames: pictures of any size, (B, T, height, width, 3) uint8.

        Returns:
            Latents, (B, T, N, D) float32.
        """
        return encode_frames(self.encoder, frames, antialias=self.config.antialias)

    def predict(self, z: Tensor, actions: Tensor, states: Tensor, *, cache: KeyValueCache | None = None) -> Tensor:
        """Predict normalised latents one step after each given step.

        Args:
            z: latents of the steps, (B, T, N, D).
            actions: what is done at each step, (B, T, A) [m, rad, gripper].
            states: poses at each step, (B, T, P).
            cache: as of `ActionConditionedPredictor.forward`.

        Returns:
            Latents, (B, T, N, D) float32: entry t is the estimate of step t + 1.
        """
        return normalize_features(self.predictor(z, actions, states, cache=cache).float())

    def rollout(self, z: Tensor, states: Tensor, actions: Tensor, *, last_only: bool = False) -> Tensor:
        """Imagine the latents that sequences of actions lead to; gradients flow.

        Args:
            z: latents of the observed steps, (E, T, N, D).
            states: of the observed steps, (E, T, P). Where actions are displacements of the state, A = P, those after
                that are integrated from them; else the last one is kept.
            actions: from the last observed step on, of K candidates for each episode (E, K, H, A), of one for each
                (E, H, A), or of K for the only one (K, H, A); displacements are [m, rad, gripper].
            last_only: whether only the latents after the last action are returned, as if H were 1.

        Returns:
            Latents after each action, (E, K, H, N, D), or (E or K, H, N, D) for three-dimensional actions, float32.

        Raises:
            ValueError: if shapes do not fit each other, `actions` holds no step, or actions that are no displacements
                leave open what led from one observed step to the next.
        """
        self._check(z, states, actions)
        candidates = actions if actions.ndim == 4 else actions.unsqueeze(0 if len(z) == 1 else 1)
        seen = candidates.new_empty(len(z), 0, actions.shape[-1])
        if states.shape[1] > 1:
            seen = pose_difference(states[:, :-1], states[:, 1:])
        before = _states_before(candidates, states[:, -1])
        imagined = roll_out(self.predictor, z, (seen, states[:, :-1]), candidates, before, last_only=last_only)
        return imagined.flatten(0, 1) if actions.ndim == 3 else imagined

    def _check(self, z: Tensor, states: Tensor, actions: Tensor) -> None:
        """Refuse what `rollout` cannot imagine."""
        episodes, steps = z.shape[:2]
        config = self.config.predictor
        if actions.shape[-2] < 1:
            raise ValueError(f"actions must hold at least one step, got shape {tuple(actions.shape)}")
        state_dim = config.state_dim if config.use_state else states.shape[-1]
        if states.shape != (episodes, steps, state_dim):
            wanted = (episodes, steps, state_dim)
            raise ValueError(f"states must be {wanted} for z {tuple(z.shape)}, got {tuple(states.shape)}")
        fits = len(actions) == episodes or (actions.ndim == 3 and episodes == 1)
        if actions.ndim not in (3, 4) or not fits or actions.shape[-1] != config.action_dim:
            raise ValueError(
                f"actions must be (E, K, H, {config.action_dim}) or (E, H, {config.action_dim}) for the {episodes} "
                f"episodes of z {tuple(z.shape)}, got {tuple(actions.shape)}"
            )
        if actions.shape[-1] != states.shape[-1] and steps > 1:
            raise ValueError(
                f"states must be of one step where actions of {actions.shape[-1]} numbers do not add to states "
                f"of {states.shape[-1]}, got {steps} steps; set context_frames to 1"
            )


def _states_before(actions: Tensor, state: Tensor) -> Tensor:
    """Return the states (E, K, H, P) in which actions (E, K, H, A) are done, the first in `state` (E, P)."""
    before = [state.unsqueeze(1).expand(*actions.shape[:2], -1)]
    for step in range(actions.shape[2] - 1):
        adds_up = actions.shape[-1] == state.shape[-1]
        before.append(integrate_pose(before[-1], actions[:, :, step]) if adds_up else before[-1])
    return torch.stack(before, dim=2)


def encode_frames(encoder: VideoEncoder, frames: Tensor, *, antialias: bool = True) -> Tensor:
    """Encode single frames (B, T, height, width, 3) uint8 to normalised latents (B, T, N, D) float32."""
    config = encoder.config
    images = prepare_frames(rearrange(frames, "b t h w c -> (b t) h w c"), config.image_size, antialias=antialias)
    images = fit_channels(images, config.in_channels)
    weight = encoder.patch_embed.proj.weight
    clips = repeat(images.to(weight), "b c h w -> b c t h w", t=config.tubelet_size)
    patches = encoder(clips)[:, int(config.class_token) :]
    z = normalize_features(patches.float())
    return rearrange(z, "(b t) n d -> b t n d", b=frames.shape[0])


def save_world_model(model: WorldModel, folder: str | Path) -> None:
    """Write `model` as `model.safetensors` and `config.json` into `folder`."""
    save_model(model, WORLD_MODEL, model.config, folder)
