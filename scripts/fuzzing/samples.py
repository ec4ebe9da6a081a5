"""Small whole files of each kind, always the same ones; each function writes into a folder and returns one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.evaluation.diagnosis.bank_folder import SETTINGS_FILE
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import save_protocol
from vjepa_wm.evaluation.results_folder import ResultsFolder, save_episode
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.official.huggingface_export import to_huggingface
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.run_config import RunConfig
from vjepa_wm.training.run.state_folder import STATE_FOLDER, StateFolder
from vjepa_wm.training.run.training_state import TrainingState

DATA, ROWS, TASKS = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"
BANK = {"env": "reach", "seed": 0, "states": 3}
VIDEO_FORMS = {
    "mp4": ("libx264", {"x264-params": "bframes=2:b-adapt=0"}),
    "mov": ("mpeg4", {}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx-vp9", {}),
    "avi": ("mpeg4", {"bf": "2"}),
    "h264.avi": ("libx264", {"x264-params": "bframes=2:b-adapt=0"}),
    "mpg": ("mpeg1video", {}),
    "gif": ("gif", {}),
}
"""Codec and its options by what stands behind the name."""
PICTURE_FORMS: dict[str, dict] = {"jpg": {}, "png": {}, "webp": {"lossless": True}, "bmp": {}, "gif": {}}
"""Options of writing by suffix."""
ENCODER = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2)


def _frames(num_frames: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    frames = np.full((num_frames, *size, 3), 60, np.uint8)
    for k, frame in enumerate(frames):
        frame[4:20, k : k + 12] = (250, 10 * k, 90)
    return frames


def video(suffix: str) -> Callable[[Path], Path]:
    """Return what writes 16 frames in the way that a suffix calls for."""

    def make(folder: Path) -> Path:
        codec, options = VIDEO_FORMS[suffix]
        with av.open(str(folder / f"video.{suffix}"), "w") as container:
            stream = container.add_stream(codec, rate=25, options={"g": "6", **options})
            stream.height, stream.width = 32, 48
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            stream.codec_context.thread_count = 1
            for k, array in enumerate(_frames(16)):
                frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return folder / f"video.{suffix}"

    return make


def picture(suffix: str) -> Callable[[Path], Path]:
    """Return what writes a picture with an orientation, where its format has that."""

    def make(folder: Path) -> Path:
        exif = Image.Exif()
        exif[0x112] = 6
        noise = np.random.default_rng(0).integers(0, 60, (40, 56, 3), dtype=np.uint8)
        noted = {"exif": exif} if suffix in ("jpg", "png", "webp") else {}
        Image.fromarray(_frames(1, (40, 56))[0] + noise).save(
            folder / f"picture.{suffix}", **noted, **PICTURE_FORMS[suffix]
        )
        return folder / f"picture.{suffix}"

    return make


def trajectories(folder: Path) -> Path:
    """Record three short episodes."""
    rng = np.random.default_rng(0)
    with TrajectoryWriter(folder, fps=5, image_size=32) as writer:
        for _ in range(3):
            numbers = rng.normal(size=(2, 5, 7)).astype(np.float32)
            numbers[1, -1] = 0  # no frame follows it
            writer.add_episode(_frames(5, (32, 32)), numbers[0], numbers[1], "push")
    return folder / "meta/info.json"


def pictures_in_parquet(folder: Path) -> Path:
    """Record an episode whose pictures lie in its parquet file."""
    trajectories(folder)
    cells = []
    for frame in _frames(5, (32, 32)):
        file = BytesIO()
        Image.fromarray(frame).save(file, "png")
        cells.append({"bytes": file.getvalue(), "path": None})
    table = pq.ParquetFile(folder / DATA).read()
    pq.write_table(table.append_column("observation.images.front", pa.array(cells)), folder / DATA)
    info = json.loads((folder / "meta/info.json").read_text()) | {"total_episodes": 1}
    info["features"]["observation.images.front"]["dtype"] = "image"
    write_json(folder / "meta/info.json", info)
    return folder / DATA


def _encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(ENCODER).eval()


def encoder(folder: Path) -> Path:
    """Save an encoder."""
    save_model(_encoder(), VIDEO_ENCODER, ENCODER, folder)
    return folder / "config.json"


def world_model(folder: Path) -> Path:
    """Save a world model."""
    torch.manual_seed(0)
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, embed_dim=24, depth=1, num_heads=2)
    save_world_model(WorldModel(WorldModelConfig(encoder=ENCODER, predictor=predictor)), folder)
    return folder / "config.json"


def huggingface(folder: Path) -> Path:
    """Save an encoder as transformers does, in two shards."""
    torch.manual_seed(0)
    config = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, rope="tiled")
    weights, values = to_huggingface(VideoEncoder(config).eval())
    write_json(folder / "config.json", values)
    places = {name: f"model-{1 + k % 2:05d}-of-00002.safetensors" for k, name in enumerate(sorted(weights))}
    for file in sorted(set(places.values())):
        save_file({name: weights[name].clone() for name, place in places.items() if place == file}, folder / file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    return folder / "config.json"


def official(folder: Path, *, is_zip: bool = True) -> Path:
    """Save an encoder as Meta does."""
    torch.manual_seed(0)
    config = VideoEncoderConfig(
        image_size=32, patch_size=8, embed_dim=192, depth=1, num_heads=3, mlp_ratio=1.0, rope="tiled"
    )
    state = {f"module.backbone.{name}": value for name, value in VideoEncoder(config).state_dict().items()}
    content = {"encoder": state, "epoch": 7, "loss": 0.5, "scaler": None, "opt": {"state": {0: torch.ones(2)}}}
    torch.save(content, folder / "a.pt", _use_new_zipfile_serialization=is_zip)
    return folder / "a.pt"


def old_official(folder: Path) -> Path:
    """Save an encoder as Meta does, in the format that PyTorch had before its zip files."""
    return official(folder, is_zip=False)


def latents(folder: Path) -> Path:
    """Encode a data set."""
    trajectories(folder / "set")
    encode_dataset(_encoder(), TrajectoryDataset(folder / "set"), store=folder / "store")
    made = next((folder / "store").iterdir())
    for path in made.iterdir():
        path.rename(folder / path.name)
    return folder / "store.json"


def _protocol() -> EvaluationProtocol:
    episodes = tuple(Episode(seed=k, options={"goal": [0.1, 0.2], "start": 3}) for k in range(2))
    return EvaluationProtocol(name="p", task="reach", steps=2, episodes=episodes, goal_steps=(1,))


def protocol(folder: Path) -> Path:
    """Save a protocol."""
    save_protocol(_protocol(), folder / "protocol.json")
    return folder / "protocol.json"


def evaluation(folder: Path) -> Path:
    """Save an evaluation of a policy on two episodes."""
    result = EpisodeResult(
        seed=0,
        distances=(0.3, 0.2, 0.1),
        reached=(False, False, True),
        energies=(3.0, 2.0, 1.0),
        seconds_per_action=0.1,
        states=((0.0, 1.0), (0.5, 1.0), (1.0, 1.0)),
        objects=None,
    )
    with ResultsFolder(folder, _protocol(), {"env": "reach", "seed": 0}):
        for k in range(2):
            save_episode(folder, "a", k, result, b"video")
    write_json(folder / "results.json", {"rows": [{"policy": "a"}, {"policy": "b"}]})
    return folder / "evaluation.json"


def bank(folder: Path) -> Path:
    """Write what a diagnosis says of itself."""
    write_json(folder / SETTINGS_FILE, BANK)
    return folder / SETTINGS_FILE


@dataclass(frozen=True, kw_only=True)
class SmallRun(RunConfig):
    """The options of a training run on data."""

    data: Path


def run_config(folder: Path) -> SmallRun:
    """Return the options of a training run."""
    return SmallRun(out=folder, data=folder / "set", steps=3, batch_size=2)


def run(folder: Path) -> Path:
    """Write what a training run, which has a state, says of itself."""
    run_config(folder).record("run.json", data="content")
    StateFolder(folder / STATE_FOLDER).path(1).mkdir(parents=True)
    return folder / "run.json"


def training_state(folder: Path) -> TrainingState:
    """Return the state of a training run that has done a step."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return TrainingState(folder, modules={"network": network}, optimizer=optimizer, world=World())


def state(folder: Path) -> Path:
    """Save the state of a training run."""
    with training_state(folder) as training:
        training.save(1)
    return folder / "state/step-00000001/state.json"


def metrics(folder: Path) -> Path:
    """Write the metrics of eight steps."""
    rows = ["step,loss,val_loss", *(f"{k},{1 / (k + 1):.6g},{'' if k % 2 else 0.5}" for k in range(8)), ""]
    (folder / "metrics.csv").write_text("\n".join(rows))
    return folder / "metrics.csv"


def path_list(folder: Path) -> Path:
    """Write a list of videos with labels."""
    (folder / "list.csv").write_text("path,label\n" + "".join(f"videos/{k} b.mp4,{k}\n" for k in range(6)))
    return folder / "list.csv"
