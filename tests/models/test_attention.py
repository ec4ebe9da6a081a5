import pytest
import torch
from torch.nn import functional as F

from vjepa_wm.models import attention
from vjepa_wm.models.attention import attend, attend_in_pieces


def heads(tokens=600, dtype=torch.float32):
    return torch.randn(3, 2, 3, tokens, 16, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("tokens", [5, 512, 600])
def test_pieces_equal_the_naive_formula(tokens):
    q, k, v = heads(tokens)
    expected = (q @ k.transpose(-1, -2) / 4.0).softmax(-1) @ v
    torch.testing.assert_close(attend_in_pieces(q, k, v), expected, atol=1e-5, rtol=1e-5)


def test_pieces_take_queries_and_keys_of_different_numbers_and_any_layout():
    q, k, v = heads()
    few = q[:, :, :7].transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(attend_in_pieces(few, k, v), attend_in_pieces(q, k, v)[:, :, :7], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scores_at_once", [7, 100, 450, 2**21], ids="{} scores at once".format)
def test_pieces_of_any_size_have_the_gradients_of_the_naive_formula(monkeypatch, scores_at_once):
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", scores_at_once)
    inputs = [torch.randn(2, 3, n, 16).requires_grad_() for n in (13, 15, 15)]
    q, k, v = inputs
    weights = torch.randn(2, 3, 13, 16)
    expected = (q @ k.transpose(-1, -2) / 4.0).softmax(-1) @ v
    wanted = torch.autograd.grad((expected * weights).sum(), inputs)
    found = attend_in_pieces(q, k, v)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    for a, b in zip(torch.autograd.grad((found * weights).sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_bfloat16_gradients_under_autocast_stay_close_to_float32():
    exact = heads(300).requires_grad_()
    rough = exact.detach().bfloat16().requires_grad_()
    F.scaled_dot_product_attention(*exact).square().sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        out = attend_in_pieces(*rough)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    for a, b in zip(rough.grad.float(), exact.grad, strict=True):
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


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
