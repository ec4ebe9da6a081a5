import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_trajectories import write_foreign
from small_videos import frame_numbers, grey_frames

from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.clips.file_lists import Names
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.data.clips.opened_video import open_listed
from vjepa_wm.data.media.video import write_video
from vjepa_wm.data.trajectories.dataset import TrajectoryError

TOP, WRIST = "observation.images.top", "observation.images.wrist"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def relative(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def video_paths(source):
    return [item.path for item in source.videos]


def test_a_folder_gives_all_videos_and_pictures_sorted_and_unopened(tmp_path):
    touch(tmp_path, "b.mp4", "a/c.WEBM", "a.mp4", "a/z.png", "q.JPG", "notes.txt", ".hidden.mp4", ".cache/x.mp4")
    source = find_clip_source(tmp_path)
    assert source.name == str(tmp_path)
    assert relative(video_paths(source), tmp_path) == ["a/c.WEBM", "a.mp4", "b.mp4"]
    assert relative(source.pictures, tmp_path) == ["a/z.png", "q.JPG"]
    assert all(item.start_s is None and item.frames_fps is None for item in source.videos)


def test_files_are_told_apart_by_names_and_order_alone_sizes_beside_them(tmp_path):
    def source(*names, changed=b"x", **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        touch(folder, *names)
        (folder / names[0]).write_bytes(changed)
        return find_clip_source(folder, **options)

    first, again, larger = (source("a.mp4", "b.png", changed=content) for content in (b"x", b"y", b"xy"))
    assert first.files == again.files == larger.files and first.sizes() == again.sizes() != larger.sizes()
    others = [source(*names).files for names in (["a.mp4"], ["a.mp4", "c.png"], ["d/a.mp4"], ["a.mp4", "b.mp4"])]
    assert len({first.files, *others}) == 5
    one, two, hidden = (source("f/1.png", *more, frames_fps=5) for more in ([], ["f/2.png"], ["f/.DS_Store"]))
    assert one.files == two.files == hidden.files and one.sizes() == hidden.sizes() != two.sizes()
    for lines in ("a.mp4\nb.mp4\n", "b.mp4\na.mp4\n"):
        (tmp_path / "list.txt").write_text(lines)
        others.append(find_clip_source(tmp_path / "list.txt").files)
    assert others[-2] == others[-3] and len(set(others)) == 5
    assert find_clip_source(tmp_path / "list.txt").sizes()  # of files that are not there


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "far/x.mp4", "near/y.mp4")
    (tmp_path / "near/link").symlink_to(tmp_path / "far")
    (tmp_path / "near/circle").symlink_to(tmp_path / "near")
    (tmp_path / "near/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = relative(video_paths(find_clip_source(tmp_path / "near")), tmp_path / "near")
    assert found == ["gone.mp4", "link/x.mp4", "y.mp4"]  # what is gone is found bad when it is drawn


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("a.mp4", "a.mp4"),
        ("a.mp4 3", "a.mp4"),
        ("a.mp4\t3", "a.mp4"),
        ("a.mp4,3,train", "a.mp4"),
        ("a.mp4;3", "a.mp4"),
        ("a.mp4::3", "a.mp4"),
        ("a.mp4 , 3", "a.mp4"),
        ("sub/a b, c.MP4 3", "sub/a b, c.MP4"),
        ("a.mp4 copy.mp4 3", "a.mp4 copy.mp4"),
        ("a.mp4,a.jpg", "a.mp4"),
        ("a.mp4\tb.mp4", "a.mp4"),
        ("a.mp4.webm 3", "a.mp4.webm"),
        ('"x ""y"", z.mp4",3', 'x "y", z.mp4'),
        ("schöne Nächte.mkv 3", "schöne Nächte.mkv"),
    ],
)
def test_a_line_of_a_list_names_a_path_and_may_go_on(tmp_path, line, path):
    (tmp_path / "list.csv").write_text(f"# comment\n\n{line}\n")
    assert relative(video_paths(find_clip_source(tmp_path / "list.csv")), tmp_path) == [path]


def test_a_list_may_have_a_header_absolute_paths_and_pictures(tmp_path):
    for header in ("path,label\n", "video label\n", "\ufeffpath\n", ""):
        (tmp_path / "list.txt").write_text(f"{header}b.mp4 1\r\n/far/a.mp4 2\n\n# c.mp4\nd.png 4\n")
        source = find_clip_source(tmp_path / "list.txt")
        assert [str(path) for path in video_paths(source)] == [str(tmp_path / "b.mp4"), "/far/a.mp4"]
        assert relative(source.pictures, tmp_path) == ["d.png"]
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    assert bytes(video_paths(find_clip_source(tmp_path / "list.txt"))[0]).endswith(b"caf\xe9.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4\nb.mp3 3\n", r"line 2 of .*list\.txt must begin with a path ending in \.3gp, .*, got 'b\.mp3 3'"),
        ("# x\nclips/none\n", "line 2 of .* got 'clips/none'"),
        ("path\nlabel\n", "line 2 of .* got 'label'"),
        ("path label\n", r"no video or picture \(.*\) in .*list\.txt"),
    ],
)
def test_lines_that_name_nothing_are_named(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_clip_source(tmp_path / "list.txt")


def test_single_files_and_what_is_none(tmp_path):
    touch(tmp_path, "a.mp4", "b.png", "c.doc", "empty/notes.md")
    assert video_paths(find_clip_source(tmp_path / "a.mp4")) == [tmp_path / "a.mp4"]
    assert list(find_clip_source(tmp_path / "b.png").pictures) == [tmp_path / "b.png"]
    with pytest.raises(ValueError, match=r"source must be a folder, a list \(\.csv, .*\) or a file .*, got .*c\.doc"):
        find_clip_source(tmp_path / "c.doc")
    with pytest.raises(FileNotFoundError, match=r"source of videos and pictures does not exist: .*none"):
        find_clip_source(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no video or picture \(\.3gp, .*\) in .*empty"):
        find_clip_source(tmp_path / "empty")
    with pytest.raises(ValueError, match="frames_fps must be positive or None, got 0"):
        find_clip_source(tmp_path, frames_fps=0)


def write_frame_folder(folder, levels):
    folder.mkdir(parents=True)
    for k, level in enumerate(levels):
        Image.fromarray(np.full((16, 24, 3), level, np.uint8)).save(folder / f"frame{k}.png")


def test_folders_of_pictures_are_videos_with_frames_in_natural_order(tmp_path):
    write_frame_folder(tmp_path / "x/one", [4 * k for k in range(12)])
    write_frame_folder(tmp_path / "two", [8, 12])
    touch(tmp_path, "three.mp4", "x/one/.thumbs.png")
    Image.new("RGB", (24, 16)).save(tmp_path / "top.png")
    source = find_clip_source(tmp_path, frames_fps=5)
    assert len(source.pictures) == 0
    assert [(str(item.path.relative_to(tmp_path)), item.frames_fps) for item in source.videos] == [
        ("three.mp4", None),
        (".", 5),
        ("two", 5),
        ("x/one", 5),
    ]
    (video,) = open_listed([source.videos[3]])
    assert np.allclose(video.scan.times, np.arange(12) / 5) and video.shape == (12, 16, 24, 3)
    assert frame_numbers(video.read(np.array([1, 2, 2, 10, 11]))) == [1, 2, 2, 10, 11]
    (tmp_path / "list.csv").write_text("name label\nx/one 3\ntwo/ 4\nx/one/frame0.png 1\n")
    listed = find_clip_source(tmp_path / "list.csv", frames_fps=5)
    assert relative(video_paths(listed), tmp_path) == ["x/one", "two"] and len(listed.pictures) == 1
    mixture = open_mixture([listed], num_frames=3, fps=5, seed=0, cache_bytes=0, max_bad_share=0.6)
    clips = [frame_numbers(mixture.video(number)) for number in range(8)]
    assert all(np.diff(clip).tolist() == [1, 1] or clip == [2, 3, 3] for clip in clips) and [2, 3, 3] in clips


def test_bad_folders_of_pictures_are_named(tmp_path):
    write_frame_folder(tmp_path / "good", range(8))
    write_frame_folder(tmp_path / "sizes", range(7))
    Image.new("RGB", (8, 8)).save(tmp_path / "sizes/frame7.png")
    write_frame_folder(tmp_path / "broken", range(8))
    (tmp_path / "broken/frame4.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("good\nsizes\nbroken\nempty\nnone\n")
    source = find_clip_source(tmp_path / "list.csv", frames_fps=4)
    mixture = open_mixture([source], num_frames=8, fps=4, seed=0, cache_bytes=0, max_bad_share=0.9)
    for number in range(5):
        assert mixture.video(number).shape == (8, 16, 24, 3)
    assert {path.name: reason.partition(str(tmp_path))[0] for path, reason in mixture.bad.items()} == {
        "sizes": "frames change their size within ",
        "broken": "cannot read ",
        "empty": "no picture (.bmp, .jpeg, .jpg, .png, .webp) in folder of frames ",
        "none": "folder of frames does not exist: ",
    }


@pytest.fixture
def lerobot(tmp_path):
    """A data set of episodes of 4, 6 and 5 frames at 10 a second, all in one file of each of two cameras."""
    write_foreign(tmp_path / "set", cameras=(TOP, WRIST))
    for k, camera in enumerate((TOP, WRIST)):
        write_video(tmp_path / f"set/videos/{camera}/chunk-000/file-000.mp4", grey_frames(30)[k : k + 15], 10)
    return tmp_path / "set"


@pytest.mark.parametrize("open_at_start", [0, 100])
@pytest.mark.parametrize("cache_bytes", [0, 2**30])
def test_clips_never_cross_episodes(lerobot, open_at_start, cache_bytes):
    source = find_clip_source(lerobot)
    assert len(source.videos) == 6 and len(source.pictures) == 0
    settings = {"cache_bytes": cache_bytes, "open_at_start": open_at_start, "seed": 0}
    mixture = open_mixture([source], num_frames=3, fps=10, **settings)
    episodes = [range(0, 4), range(4, 10), range(10, 15), range(1, 5), range(5, 11), range(11, 16)]
    for start in range(0, 60, 6):
        clips = [frame_numbers(mixture.video(number)) for number in range(start, start + 6)]
        assert all(np.diff(clip).tolist() == [1, 1] for clip in clips)
        within = [[k for k, episode in enumerate(episodes) if set(clip) <= set(episode)] for clip in clips]
        assert all(within) and set().union(*within) == set(range(6))
    assert not mixture.bad


def test_a_file_of_many_episodes_is_read_through_once(lerobot, monkeypatch):
    from vjepa_wm.data.clips import opened_video

    scanned = []
    scan = opened_video.scan_video
    monkeypatch.setattr(opened_video, "scan_video", lambda path, *part: scanned.append(part) or scan(path, *part))
    mixture = open_mixture([find_clip_source(lerobot)], num_frames=3, fps=10, seed=0, cache_bytes=0)
    for number in range(12):
        mixture.video(number)
    assert scanned == [(), ()]  # once for each camera
    scanned.clear()
    mixture = open_mixture([find_clip_source(lerobot)], num_frames=3, fps=10, seed=0, cache_bytes=0, open_at_start=0)
    for number in range(12):
        mixture.video(number)
    assert len(scanned) == 6 and all(start is not None for start, _ in scanned)  # each one's own part, once


def test_an_episode_too_short_is_named_by_its_times(lerobot):
    settings = {"fps": 10, "seed": 0, "cache_bytes": 0}
    mixture = open_mixture([find_clip_source(lerobot)], num_frames=9, max_bad_share=0.4, **settings)
    assert [path.name for path in mixture.bad] == ["file-000.mp4#t=0.000,0.350"] * 2
    assert all("too short: 0.30 s (4 frames)" in reason for reason in mixture.bad.values())
    rows = pq.read_table(lerobot / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(
        rows.drop_columns(f"videos/{TOP}/to_timestamp"), lerobot / "meta/episodes/chunk-000/file-000.parquet"
    )
    with pytest.raises(TrajectoryError, match=rf"no column videos/{TOP}/to_timestamp in"):
        find_clip_source(lerobot)


@pytest.mark.parametrize(
    ("dtype", "changes", "message"),
    [
        ("image", {}, r"observation\.images\.top, .*wrist of .* are stored as pictures within parquet files"),
        ("float32", {}, "no camera with colour pictures in"),
        ("video", {"codebase_version": "v2.1"}, r"LeRobot version must be v3\.x, got v2\.1"),
        ("video", {"total_episodes": 0}, "no episode in"),
    ],
)
def test_data_sets_without_videos_say_so(lerobot, dtype, changes, message):
    info = json.loads((lerobot / "meta/info.json").read_text())
    for camera in (TOP, WRIST):
        info["features"][camera]["dtype"] = dtype
    (lerobot / "meta/info.json").write_text(json.dumps(info | changes))
    with pytest.raises(TrajectoryError, match=message):
        find_clip_source(lerobot)


def test_names_are_packed():
    names = Names(f"clip {k} ä.mp4" for k in range(1000))
    assert len(names) == 1000 and names[999] == "clip 999 ä.mp4" and list(names)[1] == "clip 1 ä.mp4"
    for i in (-1, 1000):
        with pytest.raises(IndexError, match=f"from 0 to 999, got {i}"):
            names[i]
