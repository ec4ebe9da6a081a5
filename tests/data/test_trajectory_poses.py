"""Poses in every form become DROID's, measured against MuJoCo's own rotations and the arm of the environments."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

import vjepa_wm.envs
from vjepa_wm.data.trajectories.kinematics import ForwardKinematics
from vjepa_wm.data.trajectories.layout import TrajectoryError
from vjepa_wm.data.trajectories.poses import PoseConverter, displacements
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions

ARM = Path(vjepa_wm.envs.__file__).parent / "arm/arm.xml"
PLANAR = """<robot name="planar">
  <link name="base"/>
  <link name="upper">{mass}</link>
  <link name="hand">{mass}</link>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="slide" type="prismatic">
    <parent link="upper"/><child link="hand"/><origin xyz="0.5 0 0.1"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/>
  </joint>
</robot>"""
MASS = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'


def random_turns(count=50, seed=0):
    """Return quaternions wxyz, the first one the identity and the second half a turn, and MuJoCo's matrices of them."""
    quaternions = np.random.default_rng(seed).normal(size=(count, 4))
    quaternions[0], quaternions[1] = (1, 0, 0, 0), (0, 0, 1, 0)
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    matrices = np.empty((count, 9))
    for quaternion, matrix in zip(quaternions, matrices, strict=True):
        mujoco.mju_quat2Mat(matrix, quaternion)
    return quaternions, matrices.reshape(count, 3, 3)


def euler_to_mujoco(angles):
    """Return matrices of Euler angles as MuJoCo makes them; "XYZ" are turns about the fixed axes, x first."""
    matrices, quaternion = np.empty((len(angles), 9)), np.empty(4)
    for angle, matrix in zip(angles, matrices, strict=True):
        mujoco.mju_euler2Quat(quaternion, np.asarray(angle, np.float64), "XYZ")
        mujoco.mju_quat2Mat(matrix, quaternion)
    return matrices.reshape(-1, 3, 3)


def rotation_vectors(quaternions):
    vectors = np.empty((len(quaternions), 3))
    for quaternion, vector in zip(quaternions, vectors, strict=True):
        mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vectors


FORMS = {
    "quaternion_wxyz": lambda q, m: q,
    "quaternion_xyzw": lambda q, m: np.roll(-q, -1, axis=1),  # a quaternion and its negative are the same turn
    "rotation_vector": lambda q, m: rotation_vectors(q),
    "columns_6d": lambda q, m: np.concatenate([m[:, :, 0], m[:, :, 1]], axis=1),
    "rows_6d": lambda q, m: m[:, :2].reshape(-1, 6),
    "matrix": lambda q, m: m.reshape(-1, 9),
}


@pytest.mark.parametrize("form", FORMS)
def test_rotations_of_every_form_are_mujocos(form):
    quaternions, matrices = random_turns()
    positions = np.random.default_rng(1).normal(size=(50, 3))
    numbers = np.concatenate([positions, FORMS[form](quaternions, matrices)], axis=1)
    poses = PoseConverter(TrajectoryOptions(pose=form), numbers.shape[1])(numbers)
    assert poses.shape == (50, 7) and np.array_equal(poses[:, :3], positions) and not poses[:, 6].any()
    assert np.abs(euler_to_mujoco(poses[:, 3:6]) - matrices).max() < 1e-9


def test_small_turns_keep_their_precision():
    quaternion = np.array([[1.0, 1e-9, -2e-9, 3e-9]])
    pose = PoseConverter(TrajectoryOptions(pose="quaternion_wxyz"), 7)(
        np.concatenate([np.zeros((1, 3)), quaternion], 1)
    )
    assert pose[0, 3:6] == pytest.approx([2e-9, -4e-9, 6e-9], rel=1e-6)


def test_angles_may_be_in_degrees():
    numbers = np.array([[0.1, 0.2, 0.3, 180.0, -45.0, 30.0]])
    for form in ("euler", "rotation_vector"):
        degrees = PoseConverter(TrajectoryOptions(pose=form, degrees=True), 6)(numbers)
        radians = PoseConverter(TrajectoryOptions(pose=form), 6)(
            np.hstack([numbers[:, :3], np.deg2rad(numbers[:, 3:])])
        )
        assert np.allclose(degrees, radians, atol=1e-12)
    euler = PoseConverter(TrajectoryOptions(pose="euler", degrees=True), 6)(numbers)
    assert np.allclose(euler_to_mujoco(euler[:, 3:6]), euler_to_mujoco(np.deg2rad(numbers[:, 3:])))


def test_gripper_goes_from_open_to_closed_whatever_its_numbers():
    numbers = np.zeros((5, 7))
    numbers[:, 6] = (0.0, 0.02, 0.04, 0.08, 0.09)
    options = TrajectoryOptions(pose="euler", gripper_open=0.08, gripper_closed=0.0)  # a width in metres
    assert PoseConverter(options, 7)(numbers)[:, 6] == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0])
    assert PoseConverter(TrajectoryOptions(pose="euler"), 7)(numbers)[:, 6].tolist() == numbers[:, 6].tolist()


@pytest.mark.parametrize(("form", "size"), [("quaternion_xyzw", 4), ("columns_6d", 6), ("rows_6d", 6), ("matrix", 9)])
def test_numbers_that_are_no_rotation_are_named(form, size):
    numbers = np.zeros((3, 3 + size))
    numbers[:, 3:] = FORMS[form](*random_turns(3))
    numbers[2, 4] += 0.5
    with pytest.raises(TrajectoryError, match=rf"numbers of pose {form} must be a rotation, got \[.*\] in frame 2"):
        PoseConverter(TrajectoryOptions(pose=form), 3 + size)(numbers)


def test_a_mirror_is_no_rotation():
    numbers = np.concatenate([np.zeros(3), np.diag([1.0, 1.0, -1.0]).ravel()])[None]
    with pytest.raises(TrajectoryError, match=r"must be a rotation, got .* in frame 0"):
        PoseConverter(TrajectoryOptions(pose="matrix"), 12)(numbers)


def test_the_count_of_numbers_must_fit():
    with pytest.raises(
        TrajectoryError, match=r"state must hold 7 numbers for pose quaternion_xyzw \(x, y, z, .* got 9"
    ):
        PoseConverter(TrajectoryOptions(pose="quaternion_xyzw"), 9)
    assert PoseConverter(TrajectoryOptions(), 9)(np.ones((2, 9))).shape == (2, 9)


def test_joints_of_the_arm_give_the_pose_that_it_was_placed_at():
    from vjepa_wm.envs.arm.arm import Arm
    from vjepa_wm.envs.arm.reach.geometry import REACH_WORKSPACE
    from vjepa_wm.envs.goal_env import GoalEnvConfig

    arm, rng = Arm(GoalEnvConfig(image_size=32), workspace=REACH_WORKSPACE), np.random.default_rng(0)
    poses = rng.uniform(arm.workspace.low, arm.workspace.high, (20, 7))
    joints = np.stack([arm.solve(pose, np.array([0.0, -0.2, 0.0, -2.2, 0.0, 2.0, 0.8])) for pose in poses])
    options = TrajectoryOptions(
        pose="joints",
        robot=ARM,
        tool="tool",
        joints=("joint7", *(f"joint{k}" for k in range(1, 7))),
        gripper_open=0.04,
        gripper_closed=0.0,
    )
    found = PoseConverter(options, 8)(np.concatenate([joints[:, [6, *range(6)]], joints[:, 7:8]], axis=1))
    assert np.abs(found[:, [0, 1, 2, 6]] - poses[:, [0, 1, 2, 6]]).max() < 1e-6
    assert np.abs(euler_to_mujoco(found[:, 3:6]) - euler_to_mujoco(poses[:, 3:6])).max() < 1e-6


def test_a_urdf_file_works_too_and_only_turning_joints_are_in_degrees(tmp_path):
    (tmp_path / "planar.urdf").write_text(PLANAR.format(mass=MASS))
    kinematics = ForwardKinematics(tmp_path / "planar.urdf", "hand")
    assert kinematics.joints == ("shoulder", "slide")
    positions, rotations = kinematics(np.array([[90.0, 0.25], [0.0, 0.0]]), degrees=True)
    assert np.allclose(positions, [[0.0, 0.75, 0.1], [0.5, 0.0, 0.1]])
    assert np.allclose(rotations[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]) and np.allclose(rotations[1], np.eye(3))


def test_wrong_robot_models_are_named(tmp_path):
    path = tmp_path / "planar.urdf"
    with pytest.raises(FileNotFoundError, match=r"robot model does not exist: .*planar\.urdf"):
        ForwardKinematics(path, "hand")
    path.write_text("<robot>")
    with pytest.raises(TrajectoryError, match=r"cannot load the robot model .*planar\.urdf: "):
        ForwardKinematics(path, "hand")
    path.write_text(PLANAR.format(mass=MASS))
    with pytest.raises(TrajectoryError, match=r"no site or body in .* for the tool is called 'wrist'; .*upper, hand"):
        ForwardKinematics(path, "wrist")
    with pytest.raises(TrajectoryError, match=r"no joint .* is called 'elbow'; there are shoulder, slide"):
        ForwardKinematics(path, "hand", ["shoulder", "elbow"])
    options = TrajectoryOptions(pose="joints", robot=path, tool="hand")
    with pytest.raises(TrajectoryError, match=r"2 numbers for pose joints \(joints shoulder, slide\).* got 5 from"):
        PoseConverter(options, 5)


def test_displacements_follow_droid_and_in_a_plane_just_subtract():
    quaternions, matrices = random_turns(6)
    numbers = np.concatenate([np.arange(18.0).reshape(6, 3) ** 2, quaternions, np.linspace(0, 1, 6)[:, None]], axis=1)
    states = PoseConverter(TrajectoryOptions(pose="quaternion_wxyz"), 8)(numbers)
    actions = displacements(states)
    assert actions.shape == (6, 7) and not actions[-1].any()
    assert np.allclose(actions[:-1, :3], np.diff(states[:, :3], axis=0)) and np.allclose(actions[:-1, 6], 0.2)
    assert np.allclose(euler_to_mujoco(actions[:-1, 3:6]), matrices[1:] @ matrices[:-1].transpose(0, 2, 1))
    places = np.array([[0.0, 1.0], [0.5, 3.0], [0.25, 3.5]])
    assert displacements(places).tolist() == [[0.5, 2.0], [-0.25, 0.5], [0.0, 0.0]]
    assert displacements(places[:1]).tolist() == [[0.0, 0.0]]
