import pytest
import torch
from einops import rearrange

from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.layers import Attention
from vjepa_wm.models.rope import apply_rotary, grid_positions, rotary_tables
from vjepa_wm.models.tubelets import TubeletEmbedding

SMALL = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=2)


@pytest.fixture
def encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(SMALL).eval()


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def test_tubelets_equal_the_convolution_they_are_stored_as(clip):
    embedding = TubeletEmbedding(8, 2, 3, 48)
    expected = rearrange(embedding.proj(clip), "b d t h w -> b (t h w) d")
    torch.testing.assert_close(embedding(clip), expected, atol=1e-5, rtol=1e-5)


def test_attention_equals_the_naive_formula():
    torch.manual_seed(0)
    attention = Attention(48, 2)
    x = torch.randn(2, 10, 48)
    tables = rotary_tables(grid_positions(torch.arange(10), (2, 2)), 24, "true")
    q, k, v = rearrange(attention.qkv(x), "b n (three h d) -> three b h n d", three=3, h=2)
    scores = apply_rotary(q, tables) @ apply_rotary(k, tables).transpose(-1, -2) * 24**-0.5
    expected = attention.proj(rearrange(scores.softmax(-1) @ v, "b h n d -> b n (h d)"))
    torch.testing.assert_close(attention(x, tables), expected, atol=1e-6, rtol=1e-5)


def test_shape_and_other_resolutions(encoder, clip):
    assert encoder(clip).shape == (2, 2 * 4 * 4, 48)
    assert encoder(clip[:, :, :2, :16]).shape == (2, 2 * 4, 48)


def test_hidden_pixels_change_nothing(encoder, clip):
    ids = torch.tensor([[0, 3, 17, 30], [2, 5, 6, 31]])
    before = encoder(clip, ids)
    hidden = torch.ones(2, 32, dtype=torch.bool).scatter_(1, ids, False)
    pixels = rearrange(hidden, "b (t h w) -> b 1 t h w", t=2, h=4)
    pixels = pixels.repeat_interleave(2, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    other = torch.where(pixels, torch.randn_like(clip), clip)
    assert not torch.equal(other, clip)
    assert torch.equal(encoder(other, ids), before)


def test_masking_is_not_a_gather_of_the_full_encoding(encoder, clip):
    ids = torch.tensor([[0, 3, 17, 30]]).expand(2, -1)
    assert not torch.allclose(encoder(clip, ids), encoder(clip)[:, ids[0]], atol=1e-3)


def test_token_order_does_not_matter(encoder, clip):
    ids = torch.tensor([[0, 3, 17, 30]]).expand(2, -1)
    torch.testing.assert_close(encoder(clip, ids.flip(1)).flip(1), encoder(clip, ids), atol=1e-5, rtol=1e-5)


def test_runs_in_bfloat16(encoder, clip):
    exact = encoder(clip)
    rough = encoder.bfloat16()(clip.bfloat16())
    assert rough.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rough.float().flatten(), dim=0) > 0.999


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 3, 32, 32), "frames must be a multiple of tubelet_size 2, got 3"),
        ((2, 3, 2, 30, 32), "multiples of patch_size 8, got 30x32"),
        ((2, 1, 2, 32, 32), r"must be \(B, 3, T, H, W\), got shape \(2, 1, 2, 32, 32\)"),
    ],
)
def test_wrong_clips_are_named(encoder, shape, message):
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(shape))


def test_wrong_configurations_are_named():
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size 16, got 250"):
        VideoEncoderConfig(image_size=250)
    with pytest.raises(ValueError, match="embed_dim must be an even multiple of num_heads 5, got 192"):
        VideoEncoderConfig(num_heads=5)


@pytest.mark.parametrize("ids", [torch.tensor([[0, 3]]), torch.tensor([0, 3]), torch.tensor([[0], [1], [2]])])
def test_ids_have_a_row_for_each_clip(encoder, clip, ids):
    with pytest.raises(ValueError, match=r"ids must be \(2, K\), a row for each clip, got"):
        encoder(clip, ids)
