import pytest
import torch
from torch.nn import functional as F

from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig


def make(**options) -> AttentiveProbe:
    torch.manual_seed(0)
    return AttentiveProbe(AttentiveProbeConfig(embed_dim=32, num_heads=4, **options)).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("embed_dim", "parameters"), [(1024, 49_514_670), (1408, 93_494_190)])
def test_default_size_is_the_published_one(embed_dim, parameters):
    with torch.device("meta"):
        model = AttentiveProbe(AttentiveProbeConfig(embed_dim=embed_dim, num_classes=174))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == 51


def test_classes_and_anticipation(tokens):
    assert make(num_classes=5)(tokens).shape == (2, 5)
    scores = make(num_verbs=3, num_nouns=4, num_actions=6)(tokens)
    assert {name: tuple(value.shape) for name, value in scores.items()} == {
        "verb": (2, 3),
        "noun": (2, 4),
        "action": (2, 6),
    }
    assert make(num_actions=6)(tokens).keys() == {"action"}


def test_every_question_has_a_query_of_its_own(tokens):
    probe = make(num_verbs=3, num_nouns=3, num_actions=3)
    before = probe(tokens)
    with torch.no_grad():
        probe.pooler.query_tokens[:, 1] += 1.0
    after = probe(tokens)
    assert torch.equal(before["verb"], after["verb"])
    assert not torch.allclose(before["noun"], after["noun"], atol=1e-4)
    assert torch.equal(before["action"], after["action"])


def test_the_tokens_order_does_not_matter(tokens):
    probe = make(num_classes=5)
    torch.testing.assert_close(probe(tokens.flip(1)), probe(tokens), atol=1e-6, rtol=1e-5)


def test_without_self_attention_it_is_the_naive_formula(tokens):
    probe = make(num_classes=5, depth=1)
    block, query = probe.pooler.cross_attention_block, probe.pooler.query_tokens
    normed = F.layer_norm(tokens, (32,), block.norm1.weight, block.norm1.bias, 1e-5)
    keys, values = block.xattn.kv(normed).chunk(2, dim=-1)
    asked = block.xattn.q(query).view(1, 1, 4, 8)
    weights = torch.einsum("xqhd,bnhd->bhqn", asked, keys.view(2, 7, 4, 8)).div(8**0.5).softmax(-1)
    pooled = query + torch.einsum("bhqn,bnhd->bqhd", weights, values.view(2, 7, 4, 8)).reshape(2, 1, 32)
    pooled = pooled + block.mlp(F.layer_norm(pooled, (32,), block.norm2.weight, block.norm2.bias, 1e-5))
    torch.testing.assert_close(probe(tokens), probe.linear(pooled[:, 0]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either num_classes or num_actions must be positive, got num_classes 0 and num_actions 0"),
        ({"num_classes": 2, "num_actions": 2}, "either num_classes or num_actions"),
        ({"num_verbs": 2, "num_actions": 2}, "num_verbs and num_nouns go together"),
        ({"num_classes": 2, "depth": 0}, "depth must be at least 1, got 0"),
    ],
)
def test_wrong_configurations_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
