"""meta/info.json of a data set that is recorded here: what all its episodes have in common.

Why this file exists: the recorder writes it, and compares it with what it finds before it appends.
"""

from __future__ import annotations

from collections.abc import Sequence

from vjepa_wm.data.trajectories.layout import ACTION, DATA_PATH, ENVIRONMENT_STATE, IMAGES, STATE, VIDEO_PATH

COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def new_info(
    *,
    fps: float,
    image_size: tuple[int, int],
    cameras: Sequence[str],
    state_names: Sequence[str],
    action_names: Sequence[str],
    object_names: Sequence[str],
    robot_type: str,
    chunk_size: int,
) -> dict:
    """Describe a data set without episodes.

    Args:
        fps: frames per second.
        image_size: (H, W) of all cameras [pixels].
        cameras: their names.
        state_names: what the numbers of `observation.state` are.
        action_names: what the numbers of `action` are.
        object_names: what the numbers of `observation.environment_state` are; empty: there is no such column.
        robot_type: name of the robot.
        chunk_size: files in a folder.

    Returns:
        The content of meta/info.json.
    """
    fps = int(fps) if fps == int(fps) else fps
    vectors = {STATE: state_names, ACTION: action_names}
    if object_names:
        vectors[ENVIRONMENT_STATE] = object_names
    features: dict[str, dict[str, object]] = {
        name: {"dtype": "float32", "shape": [len(names)], "names": list(names)} for name, names in vectors.items()
    }
    features |= {IMAGES + camera: _camera(image_size, fps) for camera in cameras}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}
    return {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": chunk_size,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features,
    }


def settings(info: dict) -> dict[str, object]:
    """Gather what must not change within a data set.

    Args:
        info: content of meta/info.json.

    Returns:
        Values by what they are, in words for people.
    """
    found = {name: info.get(name) for name in ("fps", "robot_type", "chunks_size", "data_path", "video_path")}
    for name, feature in info["features"].items():
        found |= {f"{what} of {name}": feature.get(what) for what in ("shape", "names", "dtype")}
    return found


def _camera(image_size: tuple[int, int], fps: float) -> dict:
    height, width = image_size
    video: dict[str, object] = {"video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps}
    video |= {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False}
    return {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"], "info": video}
