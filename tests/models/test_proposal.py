import json
from dataclasses import replace

import pytest
import torch
from tiny_world_model import tiny_world_model
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.describe_checkpoint import describe_checkpoint
from vjepa_wm.models.load import load_encoder, load_world_model
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import save_world_model

CONFIG = ProposalConfig(
    encoder_dim=24, num_tokens=4, action_dim=7, state_dim=7, reader_dim=4, hidden_dim=16, depth=2, num_modes=3
)


def proposal(**changes):
    torch.manual_seed(0)
    return Proposal(replace(CONFIG, **changes))


def inputs(batch=5):
    generator = torch.Generator().manual_seed(1)
    z, z_goal = torch.randn(2, batch, 4, 24, generator=generator)
    return z, torch.randn(batch, 7, generator=generator), z_goal


def mixture(batch=4, modes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, modes, generator=generator)
    mean = torch.randn(batch, modes, 2, generator=generator)
    std = torch.rand(batch, modes, 2, generator=generator) + 0.1
    return ActionMixture(log_weights=logits.log_softmax(-1), mean=mean, std=std)


def test_the_density_is_that_of_a_mixture():
    one, actions = mixture(), torch.randn(4, 2)
    reference = MixtureSameFamily(Categorical(logits=one.log_weights), Independent(Normal(one.mean, one.std), 1))
    torch.testing.assert_close(one.log_prob(actions), reference.log_prob(actions))


def test_draws_have_the_mean_and_spread_of_the_mixture():
    one = mixture(batch=1)
    many = ActionMixture(*(part.expand(20_000, *part.shape[1:]) for part in (one.log_weights, one.mean, one.std)))
    drawn = many.draw(torch.Generator().manual_seed(0))
    reference = MixtureSameFamily(Categorical(logits=one.log_weights), Independent(Normal(one.mean, one.std), 1))
    torch.testing.assert_close(drawn.mean(dim=0), reference.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), reference.variance[0], atol=0.06, rtol=0)
    shares = torch.bincount(many.draw_modes(torch.Generator().manual_seed(0)), minlength=3) / 20_000
    torch.testing.assert_close(shares, one.log_weights[0].exp(), atol=0.015, rtol=0)


def test_the_heaviest_mode_is_the_mean_of_the_largest_weight():
    one = mixture()
    expected = torch.stack([one.mean[k, one.log_weights[k].argmax()] for k in range(4)])
    assert torch.equal(one.heaviest(), expected)


def test_a_proposal_gives_a_proper_mixture_in_units_of_the_action():
    plain, scaled = proposal(), proposal(action_scale=(0.01,) * 6 + (2.0,))
    a, b = plain(*inputs()), scaled(*inputs())
    assert a.mean.shape == a.std.shape == (5, 3, 7) and (a.std > 0).all()
    torch.testing.assert_close(a.log_weights.exp().sum(dim=-1), torch.ones(5))
    torch.testing.assert_close(b.mean, a.mean * torch.tensor([0.01] * 6 + [2.0]))
    torch.testing.assert_close(b.std, a.std * torch.tensor([0.01] * 6 + [2.0]))


def test_convolutions_see_present_and_goal_of_neighbours():
    wide = {"num_tokens": 16, "relation_dim": 8}
    model, (z, state, z_goal) = proposal(**wide), (torch.randn(2, 16, 24), torch.zeros(2, 7), torch.randn(1, 16, 24))
    tokens = model.relate(z, z_goal).unflatten(1, (3, 16, 4)).transpose(1, 2).flatten(2).detach().requires_grad_()
    seen = model.relation(tokens).unflatten(1, (2, 16))
    (seen[0, :, 5].sum() - seen[0, :, 5].detach().sum()).backward()  # token 5 is in row 1, column 1
    reached = tokens.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert set(reached) > {0, 1, 2, 4, 5, 6, 8, 9, 10} and tokens.grad[1].abs().sum() == 0
    assert model(z, state, z_goal).mean.shape == (2, 3, 7)
    with pytest.raises(ValueError, match="relation_dim must be 0 for 12 tokens, which are no square grid"):
        proposal(num_tokens=12, relation_dim=8)


def test_rounds_pass_the_same_blocks_again():
    form = {"num_tokens": 16, "relation_dim": 8, "relation_depth": 1}
    once, thrice = proposal(**form).relation, proposal(**form, relation_rounds=3).relation
    assert [*once.state_dict()] == [*thrice.state_dict()]
    unrolled = proposal(**form | {"relation_depth": 3}).relation
    for block in unrolled.blocks:
        block.load_state_dict(thrice.blocks[0].state_dict())
    unrolled.widen.load_state_dict(thrice.widen.state_dict())
    unrolled.narrow.load_state_dict(thrice.narrow.state_dict())
    tokens = torch.randn(2, 16, 12)
    torch.testing.assert_close(thrice(tokens), unrolled(tokens))
    assert not torch.allclose(thrice(tokens), once(tokens), atol=1e-3)
    with pytest.raises(ValueError, match="relation_rounds must be at least 1, got 0"):
        proposal(**form, relation_rounds=0)


def test_one_goal_serves_a_batch_and_states_count_only_if_used():
    z, state, z_goal = inputs()
    one = proposal()(z, state, z_goal[:1])
    torch.testing.assert_close(one.mean, proposal()(z, state, z_goal[:1].expand_as(z)).mean)
    blind = proposal(use_state=False)
    assert torch.equal(blind(z, state, z_goal).mean, blind(z, state + 1, z_goal).mean)
    assert not torch.equal(proposal()(z, state, z_goal).mean, proposal()(z, state + 1, z_goal).mean)


def test_what_does_not_fit_is_named():
    z, state, z_goal = inputs()
    with pytest.raises(ValueError, match=r"z and z_goal must be \(B, 4, 24\) for this proposal, got \(5, 3, 24\)"):
        proposal()(z[:, :3], state, z_goal[:, :3])
    with pytest.raises(ValueError, match=r"state must be \(5, 7\), got \(5, 2\)"):
        proposal()(z, state[:, :2], z_goal)
    with pytest.raises(ValueError, match="trained without labels and reads no objects"):
        proposal().read_objects(z)
    with pytest.raises(ValueError, match="action_scale must be empty or hold 7 numbers, got 2"):
        proposal(action_scale=(1.0, 2.0))
    with pytest.raises(ValueError, match="num_modes must be at least 1, got 0"):
        proposal(num_modes=0)


def test_a_world_model_keeps_its_proposal(tmp_path):
    model = tiny_world_model()
    model.attach_proposal(proposal(state_mean=(0.5,) * 7, state_scale=(2.0,) * 7))
    save_world_model(model, tmp_path)
    again = load_world_model(tmp_path)
    assert again.config == model.config
    torch.testing.assert_close(again.proposal(*inputs()).mean, model.proposal.eval()(*inputs()).mean)
    pairs = zip(again.predictor.parameters(), model.predictor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert load_encoder(tmp_path).config == model.config.encoder
    text = describe_checkpoint(tmp_path)
    assert "proposal: a proposal of actions, trained without labels" in text and "3 modes over actions of 7" in text


def test_a_world_model_without_one_has_none(tmp_path):
    save_world_model(tiny_world_model(), tmp_path)
    assert load_world_model(tmp_path).proposal is None
    values = json.loads((tmp_path / "config.json").read_text())
    del values["proposal"]  # as older ones are written
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert load_world_model(tmp_path).proposal is None


def test_a_proposal_of_another_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"proposal must have num_tokens, encoder_dim and action_dim \(4, 24, 7\)"):
        tiny_world_model().attach_proposal(proposal(num_tokens=9))
    model = tiny_world_model()
    model.attach_proposal(proposal())
    save_world_model(model, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["proposal"] = None
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="unexpected: proposal"):
        load_world_model(tmp_path)
