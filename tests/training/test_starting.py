import pytest
import torch
from foreign_files import KNOWN, encoder, predictor, same_parameters, write_huggingface, write_official

from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.starting import load_start
from vjepa_wm.training.pretrain.step import Pretrainer

PREDICTOR = {"encoder_dim": 192, "embed_dim": 384, "num_heads": 12, "depth": 1, "num_mask_tokens": 10}


def config(start, context_loss_weight=0.0, **options):
    small = {"predictor_dim": 384, "predictor_depth": 1, "predictor_heads": 12}
    objective = ObjectiveConfig(context_loss_weight=context_loss_weight)
    return PretrainConfig(
        data="data", out="out", encoder=KNOWN, start_from=start, objective=objective, **(small | options)
    )


def test_an_official_file_gives_both_encoders_and_a_predictor_with_more_mask_tokens(tmp_path):
    networks = {
        "encoder": encoder(KNOWN, 1),
        "target_encoder": encoder(KNOWN, 2),
        "predictor": predictor(3, **PREDICTOR),
    }
    path = write_official(tmp_path / "vit.pt", **networks)
    trainer = Pretrainer(config(path))
    for name, network in networks.items():
        assert same_parameters(getattr(trainer, name), network)
    assert all(p.requires_grad for p in trainer.encoder.parameters())
    assert len(trainer.predictor.mask_tokens) == 10


def test_a_huggingface_folder_has_one_encoder(tmp_path):
    both = encoder(KNOWN, 1), predictor(3, **PREDICTOR)
    start = load_start(config(write_huggingface(tmp_path / "hf", *both)))
    assert same_parameters(start.encoder, both[0]) and same_parameters(start.predictor, both[1])
    assert start.target_encoder is start.encoder


def test_options_that_describe_something_else_are_named(tmp_path):
    path = write_official(tmp_path / "vit.pt", encoder=encoder(KNOWN), predictor=predictor(**PREDICTOR))
    with pytest.raises(CheckpointError, match=r"start_from .*vit\.pt is not what .* describe: depth 1 instead of 2;"):
        load_start(config(path, predictor_depth=2))
    with pytest.raises(CheckpointError, match="predict_context False instead of True"):
        load_start(config(path, context_loss_weight=0.5))


def test_without_a_start_the_seed_decides():
    first, again, other = (Pretrainer(config(None, seed=seed)) for seed in (1, 1, 2))
    weights = [trainer.encoder.blocks[0].attn.qkv.weight for trainer in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
