"""The reader learns the scene without the robot: what is drawn, what the loss changes, and what it then tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.scene_contrast import SceneContrast
from vjepa_wm.training.scene_learning import MAX_GAP, SceneLearner, draw_moments

SIZES = {
    "encoder_dim": 8,
    "num_tokens": 9,
    "action_dim": 3,
    "state_dim": 3,
    "reader_dim": 4,
    "hidden_dim": 16,
    "scene_dim": 16,
}
CPU = torch.device("cpu")


def made_set(num_episodes=30, num_frames=12, seed=0):
    """Latents in which a robot fills most channels and an object, which wanders by itself, a few weak ones.

    Returns:
        The set, and where the object is, (F, 2).
    """
    rng = np.random.default_rng(seed)
    robot = rng.normal(size=(num_episodes, 1, 3)) + 0.4 * rng.normal(size=(num_episodes, num_frames, 3)).cumsum(axis=1)
    steps = 0.1 * rng.normal(size=(num_episodes, num_frames, 2))
    objects = rng.normal(size=(num_episodes, 1, 2)) + steps.cumsum(axis=1)
    weak = 0.4 * np.sin(objects @ rng.normal(size=(2, 72)) * (np.arange(72) < 16))
    z = np.sin(robot @ (2 * rng.normal(size=(3, 72)))) * (np.arange(72) >= 8) + weak
    lengths = np.full(num_episodes, num_frames)
    states = robot.reshape(-1, 3).astype(np.float32)
    made = LatentSet(
        z=z.reshape(-1, 9, 8).astype(np.float16),
        states=states,
        actions=states,
        objects=None,
        firsts=np.cumsum(lengths) - lengths,
        lengths=lengths,
    )
    return made, objects.reshape(-1, 2)


def test_moments_are_close_frames_of_one_episode_and_sets_lie_apart():
    one, other = made_set()[0], made_set(num_episodes=20, num_frames=5, seed=1)[0]
    z, states, frames = draw_moments([one, other], {0: 40, 1: 24}, torch.Generator().manual_seed(0), CPU)
    assert z.shape == (2, 64, 9, 8) and states.shape == (2, 64, 3) and frames.shape == (2, 64)
    gaps = frames[1] - frames[0]
    assert gaps.min() == 1 and gaps.max() == MAX_GAP
    first, second = frames[:, :40], frames[:, 40:] - (len(one.z) + MAX_GAP)
    assert np.array_equal(first[0] // 12, first[1] // 12) and np.array_equal(second[0] // 5, second[1] // 5)
    assert np.array_equal(z[0, 40:].numpy(), one_of(other, second[0]))
    assert frames[:, 40:].min() - first.max() > MAX_GAP


def one_of(latents, rows):
    return latents.z[rows].astype(np.float32)


def test_the_loss_changes_the_reader_and_the_code_alone():
    proposal = Proposal(ProposalConfig(**SIZES))
    moments = draw_moments([made_set()[0]], {0: 32}, torch.Generator().manual_seed(0), CPU)
    SceneLearner(proposal.config).loss(proposal, *moments).backward()
    changed = {name.split(".")[0] for name, value in proposal.named_parameters() if value.grad is not None}
    assert changed == {"reader", "scene_linear", "scene_readout"}


def test_codes_come_to_show_the_object_and_not_the_robot():
    made, objects = made_set(num_episodes=60)
    torch.manual_seed(0)
    proposal = Proposal(ProposalConfig(**SIZES))
    learner = SceneLearner(proposal.config)
    optimizer = torch.optim.AdamW([*proposal.parameters(), *learner.parameters()], lr=3e-3)

    def shares():
        """Return how much of the object's and of the robot's place a linear map reads off the codes."""
        with torch.no_grad():
            codes = proposal.scene_code(torch.from_numpy(made.z).float()).numpy()
        codes = np.column_stack((codes, np.ones(len(codes))))
        told = []
        for truth in (objects, made.states):
            left = truth - codes @ np.linalg.lstsq(codes, truth, rcond=None)[0]
            told.append(1 - left.var() / truth.var())
        return told

    before = shares()
    for step in range(200):
        moments = draw_moments([made], {0: 128}, torch.Generator().manual_seed(step), CPU)
        optimizer.zero_grad()
        learner.loss(proposal, *moments).backward()
        optimizer.step()
    after = shares()
    assert after[0] > before[0] + 0.2 and after[0] > after[1]


def test_frames_beside_the_pair_are_no_examples_of_other_moments():
    contrast, frames = SceneContrast(2), np.array([[0, 1, 50], [1, 2, 51]])
    codes, states = torch.zeros(2, 3, 4), torch.zeros(2, 3, 2)
    for value in contrast.first.parameters():
        torch.nn.init.zeros_(value)
    # the first two are beside each other, so each is told from the third alone; the third from both
    expected = 2 * (2 * np.log(2) + np.log(3)) / 3
    assert contrast.loss(codes, states, frames, 2).item() == pytest.approx(expected, rel=1e-5)
