"""Where files of other people enter: of each place a small whole file, its reader here, and one to compare with.

A border is a line of `OTHERS` or `LABEL_BORDERS`; the reader is the package's own one, as its commands call it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path

import av
import pyarrow.parquet as pq
import torch
from av.bitstream import BitStreamFilterContext
from fuzzing import samples
from fuzzing.border import Border, Errors, Reader, read_in, read_table, show_picture
from fuzzing.label_borders import LABEL_BORDERS
from fuzzing.mutations import (
    mutate_csv,
    mutate_json,
    mutate_parquet,
    mutate_safetensors,
)
from safetensors.torch import load_file

from vjepa_wm.data.clips.path_lists import read_path_list
from vjepa_wm.data.latents.latent_folder import LatentFolder, LatentStoreError
from vjepa_wm.data.media.pictures import PictureError, read_picture
from vjepa_wm.data.media.random_access import read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames, read_last_frame
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.evaluation.diagnosis.bank_folder import BankFolder
from vjepa_wm.evaluation.protocol_files import load_protocol
from vjepa_wm.evaluation.results_folder import read_evaluation
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.load import load_encoder, load_world_model
from vjepa_wm.training.run.curves import read_metrics
from vjepa_wm.training.run.metrics import MetricsWriter


def _read_video(folder: Path) -> None:
    path = next(folder.glob("video.*"))
    scan = scan_video(path)
    read_frames_at(path, scan.times[:: max(1, len(scan.times) // 3)], key_times=scan.key_times)
    read_frames(path)
    read_last_frame(path)


def _play_video(path: Path) -> None:
    """Decode a video from the first key frame on; a decoder that is asked to be strict raises whatever is wrong."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        for packet in dropwhile(lambda packet: packet.size and not packet.is_keyframe, container.demux(stream)):
            if packet.is_corrupt:
                raise ValueError("corrupt packet")
            for part in _pictures_alone(packet, stream):
                stream.decode(part)


def _pictures_alone(packet: av.Packet, stream: av.VideoStream) -> list[av.Packet]:
    """Leave out what H.264 encoders note beside pictures, as which options they had."""
    if stream.codec_context.name != "h264" or not packet.size:
        return [packet]
    try:
        notes_left_out = BitStreamFilterContext("filter_units=remove_types=6", stream)
    except av.FFmpegError:  # of a header that decoders do not look at
        return [packet]
    return notes_left_out.filter(packet)


def _read_set(folder: Path) -> None:
    dataset = TrajectoryDataset(folder)
    for place in range(len(dataset)):
        dataset.episode(place)
        dataset.objects(place)


def _append(folder: Path) -> None:
    with TrajectoryWriter(folder, fps=5, image_size=32):
        pass


def _read_json(path: Path) -> None:
    json.loads(path.read_bytes())


def _read_latents(folder: Path) -> None:
    latents = LatentFolder(folder)
    latents.open(latents.read_note().num_episodes)


def _read_results(folder: Path) -> None:
    evaluation = read_evaluation(folder)
    for policy in evaluation.policies():
        evaluation.records(policy)


def _open_bank(folder: Path) -> None:
    with BankFolder(folder, samples.BANK):
        pass


def _go_on(folder: Path) -> None:
    samples.run_config(folder).check_same_run("run.json", data="content")


def _load_state(folder: Path) -> None:
    samples.training_state(folder).load()


def _resume_metrics(folder: Path) -> None:
    MetricsWriter(folder / "metrics.csv", first_step=6).write(6, {"loss": 1.0})
    read_metrics(folder / "metrics.csv")


def _read_metrics(folder: Path) -> None:
    read_metrics(folder / "metrics.csv")


def _read_rows(path: Path) -> None:
    """Read a table of numbers whose rows are at most as long as the header, but for a last one that was cut off."""
    with path.open(encoding="utf-8", newline="") as file:
        whole = [line for line in file if line.endswith(("\n", "\r"))]
    rows = list(csv.reader(whole, strict=True))
    for row in rows[1:]:
        if len(row) > len(rows[0]):
            raise ValueError(f"{len(row)} cells under {len(rows[0])}")
        for cell in row:
            float(cell or "nan")


def _read_list(folder: Path) -> None:
    list(read_path_list(folder / "list.csv", (".mp4",), folders=True))


def _load_pt(path: Path) -> None:
    torch.load(path, map_location="cpu", weights_only=True)


def _json(name: str, make: Callable[[Path], Path], read: Reader, errors: Errors, file: str | None = None) -> Border:
    return Border(name, make=make, read=read, errors=errors, file=file, mutate=mutate_json, reference=_read_json)


def _parquet(name: str, make: Callable[[Path], Path], read: Reader, file: str) -> Border:
    reference = pq.read_schema if read is _append and file == samples.ROWS else read_table  # of rows the names alone
    return Border(
        name, make=make, read=read, file=file, errors=TRAJECTORIES, mutate=mutate_parquet, reference=reference
    )


def _weights(name: str, make: Callable[[Path], Path], read: Reader, file: str = "model.safetensors") -> Border:
    return Border(
        name, make=make, read=read, file=file, errors=CHECKPOINT, mutate=mutate_safetensors, reference=load_file
    )


CHECKPOINT, TRAJECTORIES, DAMAGED = (CheckpointError,), (TrajectoryError, VideoError), (ValueError,)
STATE = "state/step-00000001"
OTHERS: dict[str, tuple[Border, ...]] = {
    "video": tuple(
        Border(suffix, make=samples.video(suffix), read=_read_video, errors=(VideoError,), reference=_play_video)
        for suffix in samples.VIDEO_FORMS
    ),
    "picture": tuple(
        Border(
            suffix,
            make=samples.picture(suffix),
            read=read_in(read_picture, f"picture.{suffix}"),
            errors=(PictureError,),
            reference=show_picture,
        )
        for suffix in samples.PICTURE_FORMS
    ),
    "parquet": (
        _parquet("numbers", samples.trajectories, _read_set, samples.DATA),
        _parquet("rows of episodes", samples.trajectories, _read_set, samples.ROWS),
        _parquet("rows of episodes, appended to", samples.trajectories, _append, samples.ROWS),
        _parquet("tasks, appended to", samples.trajectories, _append, samples.TASKS),
        _parquet("pictures", samples.pictures_in_parquet, _read_set, samples.DATA),
    ),
    "json": (
        _json("encoder", samples.encoder, load_encoder, CHECKPOINT, "config.json"),
        _json("world model", samples.world_model, load_world_model, CHECKPOINT, "config.json"),
        _json("Hugging Face", samples.huggingface, load_encoder, CHECKPOINT, "config.json"),
        _json("shards", samples.huggingface, load_encoder, CHECKPOINT, "model.safetensors.index.json"),
        _json("data set", samples.trajectories, _read_set, TRAJECTORIES, "meta/info.json"),
        _json("data set, appended to", samples.trajectories, _append, TRAJECTORIES, "meta/info.json"),
        _json("statistics", samples.trajectories, _read_set, TRAJECTORIES, "meta/stats.json"),
        _json("statistics, appended to", samples.trajectories, _append, TRAJECTORIES, "meta/stats.json"),
        _json("latents", samples.latents, _read_latents, (LatentStoreError,)),
        _json("evaluation", samples.evaluation, _read_results, DAMAGED, "evaluation.json"),
        _json("table of results", samples.evaluation, _read_results, DAMAGED, "results.json"),
        _json("record", samples.evaluation, _read_results, DAMAGED, "episodes/a/000.json"),
        _json("protocol", samples.protocol, read_in(load_protocol, "protocol.json"), DAMAGED),
        _json("diagnosis", samples.bank, _open_bank, DAMAGED),
        _json("run", samples.run, _go_on, CHECKPOINT),
        _json("state", samples.state, _load_state, CHECKPOINT, f"{STATE}/state.json"),
    ),
    "safetensors": (
        _weights("encoder", samples.encoder, load_encoder),
        _weights("world model", samples.world_model, load_world_model),
        _weights("shard", samples.huggingface, load_encoder, "model-00001-of-00002.safetensors"),
        _weights("state", samples.state, _load_state, f"{STATE}/rank-00000.safetensors"),
    ),
    "pt": tuple(
        Border(name, make=make, read=read_in(load_encoder, "a.pt"), errors=CHECKPOINT, reference=_load_pt)
        for name, make in (("zip", samples.official), ("pickle", samples.old_official))
    ),
    "csv": (
        Border("list", make=samples.path_list, read=_read_list, errors=DAMAGED, mutate=mutate_csv),
        *(
            Border(name, make=samples.metrics, read=read, errors=DAMAGED, mutate=mutate_csv, reference=_read_rows)
            for name, read in (("metrics", _read_metrics), ("metrics, gone on with", _resume_metrics))
        ),
    ),
}
BORDERS = {kind: (*borders, *LABEL_BORDERS.get(kind, ())) for kind, borders in OTHERS.items()}
"""By kind of file."""
