import pytest
import torch

from vjepa_wm.models.inverse_dynamics import InverseDynamics, InverseDynamicsConfig

FORM = InverseDynamicsConfig(encoder_dim=8, num_tokens=4, action_scale=(0.1, 2.0), reader_dim=8, hidden_dim=32)


def test_it_learns_to_read_what_moved_in_any_batch_shape():
    torch.manual_seed(0)
    network = InverseDynamics(FORM)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    z, moved = torch.randn(64, 3, 4, 8), torch.randn(64, 3, 2)
    z_next = z.clone()
    z_next[:, :, 2, :2] += moved
    actions = moved * torch.tensor(FORM.action_scale)
    before = network.loss(z, z_next, actions).item()
    assert network(z, z_next).shape == (64, 3, 2) and before > 0.5
    for _ in range(100):
        optimizer.zero_grad()
        network.loss(z, z_next, actions).backward()
        optimizer.step()
    assert network.loss(z, z_next, actions).item() < 0.3 * before
    torch.testing.assert_close(network(z[0], z_next[0]), network(z, z_next)[0])


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="action_scale must hold a unit for each number of the action, got none"):
        InverseDynamicsConfig(encoder_dim=8, num_tokens=4, action_scale=())
    with pytest.raises(ValueError, match="reader_dim must be at least 1, got 0"):
        InverseDynamicsConfig(encoder_dim=8, num_tokens=4, action_scale=(1.0,), reader_dim=0)
