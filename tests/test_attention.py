import pytest
import torch
from torch.nn import functional as F

from vjepa_wm.models.attention import attend, attend_by_head


def heads(tokens=600, dtype=torch.float32):
    return torch.randn(3, 2, 3, tokens, 16, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("tokens", [5, 512, 600])
def test_head_by_head_equals_the_naive_formula(tokens):
    q, k, v = heads(tokens)
    expected = (q @ k.transpose(-1, -2) / 4.0).softmax(-1) @ v
    torch.testing.assert_close(attend_by_head(q, k, v), expected, atol=1e-5, rtol=1e-5)


def test_head_by_head_takes_queries_and_keys_of_different_numbers_and_any_layout():
    q, k, v = heads()
    few = q[:, :, :7].transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(attend_by_head(few, k, v), attend_by_head(q, k, v)[:, :, :7], atol=1e-6, rtol=1e-5)


def test_bfloat16_without_gradients_stays_close_to_float32():
    q, k, v = heads(dtype=torch.bfloat16)
    with torch.no_grad():
        rough = attend(q, k, v)
    exact = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert rough.dtype == torch.bfloat16
    assert F.cosine_similarity(rough.float().flatten(), exact.flatten(), dim=0) > 0.9999


def test_gradients_flow_in_bfloat16():
    q, k, v = heads(dtype=torch.bfloat16).requires_grad_().unbind()
    attend(q, k, v).sum().backward()


def test_a_mask_hides_keys():
    q, k, v = heads(4)
    mask = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(attend(q, k, v, mask), attend(q, k[:, :, :2], v[:, :, :2]), atol=1e-6, rtol=1e-5)
