import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_trajectories import make_dataset

from vjepa_wm.data.latents import latent_store
from vjepa_wm.data.latents.latent_folder import LatentStoreError
from vjepa_wm.data.latents.latent_store import encode_dataset, encode_episode, fingerprint
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.safe_files import FolderInUseError, FolderLock

CONFIG = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2)


def encoder(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VideoEncoder(CONFIG).eval()


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "set")


def refuse(*arguments, **options):
    raise AssertionError("nothing is left to encode")


def test_the_set_has_what_each_episode_gives(dataset):
    latents = encode_dataset(encoder(), dataset)
    assert latents.num_episodes == 4 and latents.num_frames == 6 + 7 + 8 + 9
    for index, (first, length) in enumerate(zip(latents.firsts, latents.lengths, strict=True)):
        rows, episode = slice(first, first + length), dataset.episode(index)
        np.testing.assert_array_equal(latents.z[rows], encode_episode(encoder(), episode).numpy())
        np.testing.assert_array_equal(latents.states[rows], episode.states)
        np.testing.assert_array_equal(latents.actions[rows], episode.actions)
    assert latents.objects is None and isinstance(latents.z, np.memmap)


def test_a_second_run_encodes_nothing(dataset, monkeypatch):
    first = encode_dataset(encoder(), dataset)
    monkeypatch.setattr(latent_store, "encode_episode", refuse)
    np.testing.assert_array_equal(encode_dataset(encoder(), TrajectoryDataset(dataset.root)).z, first.z)


def test_an_interrupted_encoding_goes_on(dataset, tmp_path, monkeypatch):
    whole = encode_dataset(encoder(), dataset, store=tmp_path / "whole")
    monkeypatch.setattr(latent_store, "SAVE_EVERY", 1)
    real, seen = encode_episode, []

    def die_at_the_third(model, episode, **options):
        seen.append(episode.index)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(model, episode, **options)

    monkeypatch.setattr(latent_store, "encode_episode", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(encoder(), dataset, store=tmp_path / "parts")
    parts = encode_dataset(encoder(), dataset, store=tmp_path / "parts")
    assert seen == [0, 1, 2, 2, 3]
    for name in ("z", "states", "actions"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("change", ["encoder", "read"])
def test_what_latents_depend_on_has_a_place_of_its_own(dataset, tmp_path, change):
    store = tmp_path / "store"
    before = encode_dataset(encoder(), dataset, store=store)
    options = TrajectoryOptions(fps=2.5 if change == "read" else None)
    other = encode_dataset(encoder(int(change == "encoder")), TrajectoryDataset(dataset.root, options), store=store)
    assert len(list(store.iterdir())) == 2
    assert other.z.shape != before.z.shape or not np.array_equal(other.z, before.z)


def test_a_copy_of_a_data_set_has_the_same_place(dataset, tmp_path, monkeypatch):
    first = encode_dataset(encoder(), dataset, store=tmp_path / "store")
    shutil.copytree(dataset.root, tmp_path / "copy", copy_function=shutil.copyfile)  # whose times are others
    monkeypatch.setattr(latent_store, "encode_episode", refuse)
    again = encode_dataset(encoder(), TrajectoryDataset(tmp_path / "copy"), store=tmp_path / "store")
    np.testing.assert_array_equal(again.z, first.z)


def test_options_that_came_later_leave_the_fingerprints_of_stored_latents():
    model = encoder()
    form = (
        "VideoEncoderConfig(image_size=32, num_frames=16, patch_size=8, tubelet_size=2, in_channels=3, embed_dim=24, "
        "depth=1, num_heads=2, mlp_ratio=4.0, activation='gelu', norm_eps=1e-06, drop_path=0.0, rope='true', "
        "rope_grid=None, uniform_power=False, class_token=False, temporal_depth=0, levels=(), image_tokenizer=False, "
        "modality_embedding=False)"
    )
    digest = hashlib.blake2b(form.encode(), digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    assert fingerprint(model) == digest.hexdigest()
    torch.manual_seed(0)
    assert fingerprint(VideoEncoder(replace(CONFIG, short_time=True))) != fingerprint(model)


def test_equal_encoders_have_one_fingerprint_and_others_another():
    changed = encoder()
    with torch.no_grad():
        changed.patch_embed.proj.bias[0] += 1e-3
    assert fingerprint(encoder()) == fingerprint(encoder())
    assert len({fingerprint(encoder()), fingerprint(encoder(1)), fingerprint(changed)}) == 3


@pytest.mark.parametrize("name", ["z.bin", "states.bin", "episodes.bin", "store.json"])
def test_a_damaged_file_is_named(dataset, tmp_path, name):
    encode_dataset(encoder(), dataset, store=tmp_path / "store")
    (path,) = (tmp_path / "store").rglob(name)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(LatentStoreError, match=f"{name} is damaged.*delete the folder"):
        encode_dataset(encoder(), dataset, store=tmp_path / "store")


def test_two_do_not_encode_the_same_at_once(dataset, tmp_path, monkeypatch):
    def start_another(model, episode, **options):
        (folder,) = (tmp_path / "store").iterdir()
        with pytest.raises(FolderInUseError, match="is writing into"):
            FolderLock(folder)
        return encode_episode(model, episode, **options)

    monkeypatch.setattr(latent_store, "encode_episode", start_another)
    assert encode_dataset(encoder(), dataset, store=tmp_path / "store").num_episodes == 4


def test_an_encoder_that_is_not_a_number_is_told_at_its_first_frames(dataset):
    broken = encoder()
    with torch.no_grad():
        broken.blocks[0].attn.qkv.bias[0] = float("nan")
    with pytest.raises(FloatingPointError, match="the encoder's features are not finite: its weights are broken"):
        encode_dataset(broken, dataset)
