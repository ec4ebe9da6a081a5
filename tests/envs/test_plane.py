"""The plane: layouts, the geometry of walls and ways, and a simulated point that walls stop."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from vjepa_wm.envs import plane
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.plane.drawn_mazes import drawn_mazes
from vjepa_wm.envs.plane.geometry import HALF_WIDTH, POINT_RADIUS, WALL_HALF, are_clear, are_free
from vjepa_wm.envs.plane.layouts import MAZES, TWO_ROOMS
from vjepa_wm.envs.plane.point_scene import PointScene
from vjepa_wm.envs.plane.roadmap import SLACK, Roadmap

FOLDER = Path(plane.__file__).parent
WORLDS = {"point_maze": MAZES, "two_room": TWO_ROOMS}
ALL = [(scene, name) for scene, layouts in WORLDS.items() for name in layouts.names()]
WALL = np.array([[-0.1, -0.02, 0.1, 0.02]])
# How deep a point may be in a wall after a step [m]: where it slid around a corner till the last; else much less.
DEPTH = 5e-4


def make_scene(name, image_size=64):
    return PointScene(
        GoalEnvConfig(image_size=image_size, cameras=("top",)), scene=FOLDER / name / "scene.xml", layouts=WORLDS[name]
    )


@pytest.fixture(scope="module", params=WORLDS)
def scene(request):
    scene = make_scene(request.param)
    yield scene
    scene.close()


@pytest.fixture
def maze():
    scene = make_scene("point_maze")
    yield scene
    scene.close()


def turned(drawing):
    """Return the eight ways to turn and mirror a drawing, as sets of places that have a wall."""
    grid = np.array([[letter != " " for letter in line] for line in drawing.strip().splitlines()])
    return {np.rot90(side, turns).tobytes() for side in (grid, grid.T) for turns in range(4)}


def free_places(scene, num, seed):
    places = np.random.default_rng(seed).uniform(-HALF_WIDTH, HALF_WIDTH, (20 * num, 2))
    return places[are_free(places, scene.walls)][:num]


@pytest.mark.parametrize(("layouts", "size"), [(MAZES, 11), (TWO_ROOMS, 9)])
def test_there_are_layouts_to_train_with_and_others_held_out(layouts, size):
    assert len(layouts.training) >= 6 and len(layouts.held_out) >= 4 and next(iter(layouts.training)) == "default"
    drawings = [layouts[name].strip() for name in layouts.names()]
    assert len(set(drawings)) == len(drawings)
    for drawing in drawings + [layouts[name] for name in list(layouts.drawn)[:100]]:
        lines = drawing.splitlines()
        assert len(lines) == size and all(len(line) == size for line in lines)
        assert lines[0] == lines[-1] == "+-" * (size // 2) + "+"
        assert all(line[0] + line[-1] in ("||", "++") for line in lines)


def test_held_out_mazes_are_no_training_mazes_turned_or_mirrored():
    for seen, unseen in itertools.product(MAZES.training.values(), MAZES.held_out.values()):
        assert not turned(seen) & turned(unseen)


def test_no_drawn_layout_is_a_held_out_one():
    assert not set(TWO_ROOMS.drawn.values()) & set(TWO_ROOMS.held_out.values()) and len(TWO_ROOMS.drawn) == 56
    unseen = set().union(*map(turned, MAZES.held_out.values()))
    names = list(MAZES.drawn)
    assert names[-1] == "maze_9999" and not any(turned(MAZES[name]) & unseen for name in names[:500])


def test_a_drawn_maze_that_would_be_held_out_is_drawn_again():
    first = drawn_mazes(3, without=())["maze_4"]
    assert drawn_mazes(3, without=(first,))["maze_4"] != first == drawn_mazes(3, without=())["maze_4"]


def test_in_drawn_mazes_there_is_a_way_to_everywhere_and_none_is_like_another():
    scene, shares = make_scene("point_maze"), []
    for name in list(MAZES.drawn)[:40]:
        scene.set_layout(name)
        assert np.isfinite(
            [Roadmap(scene.walls).length((-0.4, 0.4), place) for place in free_places(scene, 20, 0)]
        ).all()
        shares.append(len(scene.walls))
    assert len({MAZES[name] for name in list(MAZES.drawn)[:40]}) == 40 and min(shares) < 12 < 18 < max(shares)
    scene.close()


@pytest.mark.parametrize("name", ["maze_10000", "maze_007", "maze_-1", "maze_", "maze", "Maze_1", "maze_\u0663"])
def test_other_names_are_no_mazes(name):
    assert name not in MAZES and "maze_7" in MAZES


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((0.0, 0.0), False),
        ((0.0, 0.084), False),
        ((0.0, 0.086), True),
        ((-0.164, 0.0), False),
        ((-0.166, 0.0), True),
        ((0.14, 0.065), False),
        ((0.15, 0.07), True),  # a square in place of the disc would touch here
    ],
)
def test_where_a_disc_is_free(place, expected):
    assert are_free(np.array([place]), WALL)[0] == expected


def test_lines_are_clear_where_all_their_places_are_free():
    rng = np.random.default_rng(0)
    begins, ends = rng.uniform(-0.3, 0.3, (2, 400, 2))
    begins[:50, 0] = ends[:50, 0]  # upright
    walls = np.array([[-0.1, -0.02, 0.1, 0.02], [0.15, -0.2, 0.2, 0.1]])
    shares = np.linspace(0.0, 1.0, 500)[:, None]
    naive = [are_free(begin + shares * (end - begin), walls).all() for begin, end in zip(begins, ends, strict=True)]
    clear = are_clear(begins, ends, walls)
    assert 50 < clear.sum() < 350
    assert (clear != naive).sum() <= 2  # lines that touch between two of the places
    np.testing.assert_array_equal(are_clear(begins, begins, walls), are_free(begins, walls))


def test_the_shortest_way_turns_at_the_ends_of_a_wall():
    roadmap, out = Roadmap(WALL), POINT_RADIUS + SLACK
    low, high = np.array([0.02, -0.3]), np.array([0.02, 0.3])
    corner, other = np.array([0.1 + out, -0.02 - out]), np.array([0.1 + out, 0.02 + out])
    expected = np.linalg.norm(corner - low) + np.linalg.norm(other - corner) + np.linalg.norm(high - other)
    assert roadmap.length(low, high) == pytest.approx(expected)
    np.testing.assert_allclose(roadmap.next_place(low, high), corner)
    np.testing.assert_allclose(roadmap.next_place(corner, high), other)
    np.testing.assert_allclose(roadmap.next_place(other, high), high)
    assert roadmap.length(low, [0.3, -0.3]) == pytest.approx(0.28)


def test_there_is_no_way_out_of_a_closed_room():
    walls = np.array([[-0.3, -0.3, -0.2, 0.3], [0.2, -0.3, 0.3, 0.3], [-0.2, -0.3, 0.2, -0.2], [-0.2, 0.2, 0.2, 0.3]])
    roadmap = Roadmap(walls)
    assert roadmap.next_place([0, 0], [0.45, 0]) is None and roadmap.length([0, 0], [0.45, 0]) == np.inf
    assert roadmap.length([0, 0], [0.1, 0.1]) == pytest.approx(np.hypot(0.1, 0.1))


@pytest.mark.parametrize(("world", "name"), ALL)
def test_a_way_leads_from_everywhere_to_everywhere(world, name):
    scene = make_scene(world)
    scene.set_layout(name)
    roadmap, places = Roadmap(scene.walls), free_places(scene, 40, seed=0)
    for begin, end in itertools.pairwise(places):
        length = roadmap.length(begin, end)
        assert np.linalg.norm(end - begin) - 1e-9 <= length < 5.0
        assert roadmap.length(end, begin) == pytest.approx(length)
    cells = (2 * np.arange(scene.num_cells) + 1) / scene.num_cells * HALF_WIDTH - HALF_WIDTH
    centres = np.array(list(itertools.product(cells, cells)))
    assert are_free(centres, scene.walls).all()


def test_walls_are_seen_where_they_are_drawn(scene):
    for name in scene.factors["layout"].names():
        scene.set_layout(name)
        scene.place([9.0, 9.0])
        drawing = scene.factors["layout"][name].strip().splitlines()
        # Cells and the borders between them, in the picture's order.
        steps = np.linspace(-HALF_WIDTH, HALF_WIDTH, len(drawing))[1:-1]
        pixels = np.rint((steps / 0.52 + 1) * 32 - 0.5).astype(int)
        dark = scene.picture()[np.ix_(pixels, pixels)].sum(axis=2) < 300
        drawn = np.array([[letter not in " +" for letter in line[1:-1]] for line in drawing[1:-1]])
        posts = np.zeros_like(drawn)
        posts[1::2, 1::2] = True  # dark if any wall ends there
        np.testing.assert_array_equal(dark[~posts], drawn[~posts])
        places = np.stack(np.meshgrid(steps, -steps), axis=-1).reshape(-1, 2)
        np.testing.assert_array_equal(~are_free(places, scene.walls, 0.001).reshape(drawn.shape)[~posts], drawn[~posts])


def test_layouts_change_back_without_a_trace(scene):
    scene.set_layout("default")
    scene.place([0.3, -0.3])
    picture, state = scene.picture(), scene.get_state()
    name = scene.factors["layout"].names()[-1]
    scene.set_layout(name)
    assert scene.layout == name and not np.array_equal(scene.picture(), picture)
    np.testing.assert_array_equal(scene.position(), [0.3, -0.3])
    scene.set_layout("default")
    np.testing.assert_array_equal(scene.picture(), picture)
    np.testing.assert_array_equal(scene.get_state(), state)


def test_sizes_are_those_of_the_model(scene):
    assert scene.model.geom("point").size[0] == POINT_RADIUS
    inner = scene.walls[4:]
    np.testing.assert_allclose((inner[:, 2:] - inner[:, :2]).min(axis=1) / 2, WALL_HALF, rtol=1e-5)
    np.testing.assert_allclose(scene.walls[1, 0], HALF_WIDTH - WALL_HALF, rtol=1e-5)


def test_an_unknown_layout():
    with pytest.raises(ValueError, match=r"layout must be one of default, medium, .* branches, got 'spirol'"):
        make_scene("point_maze").set_layout("spirol")


@pytest.mark.parametrize(("world", "name"), ALL)
def test_nothing_goes_through_walls(world, name):
    scene = make_scene(world)
    scene.set_layout(name)
    roadmap, rng = Roadmap(scene.walls), np.random.default_rng(0)
    for place in free_places(scene, 5, seed=1):
        scene.place(place)
        before = place
        for _ in range(12):
            scene.move(rng.choice([-0.1, 0.1], 2) if rng.random() < 0.5 else rng.uniform(-0.1, 0.1, 2))
            after = scene.position()
            assert are_free(after[None], scene.walls, POINT_RADIUS - DEPTH).all()
            assert roadmap.length(before, after) < 0.3  # around a corner at the most
            before = after


def test_the_point_goes_where_it_is_sent_and_rests_there(maze):
    maze.place([-0.3, -0.3])
    for displacement in ([0.1, 0.0], [0.1, 0.1], [-0.03, 0.05], [0.0, 0.0]):
        expected = maze.position() + displacement
        maze.move(np.array(displacement))
        np.testing.assert_allclose(maze.position(), expected, atol=1e-4)
        np.testing.assert_allclose(maze.data.qvel, 0, atol=1e-3)


def test_the_point_slides_along_a_wall_and_leaves_it(maze):
    maze.place([0.3, -0.3])
    for _ in range(4):
        maze.move(np.array([0.1, 0.03]))
    face = 0.48 - POINT_RADIUS
    np.testing.assert_allclose(maze.position(), [face, -0.18], atol=1e-4)
    maze.move(np.zeros(2))
    np.testing.assert_allclose(maze.position(), [face, -0.18], atol=1e-4)
    maze.move(np.array([-0.1, 0.0]))
    np.testing.assert_allclose(maze.position(), [face - 0.1, -0.18], atol=2e-4)


def test_a_wall_that_is_lowered_lets_the_point_through(maze):
    for name, expected in (("snake", 0.385), ("default", 0.2)):
        maze.set_layout(name)
        maze.place([-0.3, 0.4])
        maze.move(np.array([0.0, -0.1]))
        maze.move(np.array([0.0, -0.1]))
        assert maze.position()[1] == pytest.approx(expected, abs=2e-4)


def test_the_place_is_all_of_the_state(maze):
    other = make_scene("point_maze")
    rng = np.random.default_rng(0)
    maze.place([0.3, 0.3])
    for _ in range(100):
        maze.move(rng.uniform(-0.1, 0.1, 2))
        action = rng.uniform(-0.1, 0.1, 2)
        other.place(maze.position())
        other.move(action)
        saved = maze.get_state()
        maze.move(action)
        np.testing.assert_allclose(other.position(), maze.position(), atol=1e-4)
        maze.set_state(saved)
