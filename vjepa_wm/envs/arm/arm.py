"""The arm all tasks share: a Franka-like model, its poses, inverse kinematics, one control step and one camera.

A task's scene may add objects that lie on the table.

Letters: P = 7 entries of a pose (x, y, z [m]; roll, pitch, yaw [rad]; gripper 0 open .. 1 closed), Q = 9 joints (7 of
the arm [rad], 2 fingers [m]), S image size.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import atan2, cos, sin
from pathlib import Path

import mujoco
import numpy as np

from vjepa_wm.envs.arm.rotation import compose, euler_from_matrix, matrix_from_euler
from vjepa_wm.envs.arm.workspace import FINGER_STROKE, Workspace
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.scene import Scene

REST_JOINTS = np.array([0.0, -0.2, 0.0, -2.2, 0.0, 2.0, np.pi / 4])

ARM_ALONE = Path(__file__).with_name("arm.xml")
NUM_JOINTS = 7
NUM_COORDINATES = 9  # the joints and the two fingers; those of a scene's objects follow them
NUM_SUBSTEPS = 25  # of 8 ms each: one control step at CONTROL_HZ
RAMP_SUBSTEPS = 13  # the joint targets move in these; in the remaining ones the arm comes to rest


class Arm(Scene):
    """A simulated arm moved by displacements of its tool pose.

    The joint that makes the arm redundant (joint 3) is held at zero by the inverse kinematics, so that the joints are a
    function of the pose: whatever the path to a pose, the picture there is the same.
    """

    def __init__(self, config: GoalEnvConfig, *, workspace: Workspace, scene: Path = ARM_ALONE) -> None:
        """Load the model.

        Args:
            config: what its pictures are like.
            workspace: where the tool may be.
            scene: the arm alone, or a file that includes it first and adds objects.
        """
        super().__init__(
            scene,
            image_size=config.image_size,
            cameras=config.cameras,
            renderer=config.renderer,
        )
        self.workspace = workspace
        self._let_contacts_feel_the_damping()
        self._tool = self.model.site("tool").id
        self._jacobian = np.zeros((7, self.model.nv))
        self._jacobian[6, 2] = 1.0
        ramp = np.minimum(np.arange(1, NUM_SUBSTEPS + 1) / RAMP_SUBSTEPS, 1.0)
        self._profile = ramp * ramp * (3.0 - 2.0 * ramp)

    def pose(self) -> np.ndarray:
        """Return the measured tool pose, (P,) float64."""
        return self._measure(self.data)

    def object_pose(self, name: str) -> np.ndarray:
        """Return where an object of the scene is: x, y, z of its centre [m], yaw of its x axis [rad]; (4,) float64."""
        body = self.data.body(name)
        return np.append(body.xpos, atan2(body.xmat[3], body.xmat[0]))

    def gripper_target(self) -> float:
        """Return what the gripper was told to close to, 0 open .. 1 closed; what it holds may keep it from there."""
        return 1.0 - float(self.data.ctrl[NUM_JOINTS:NUM_COORDINATES].mean()) / FINGER_STROKE

    def place(
        self,
        pose: np.ndarray,
        objects: Mapping[str, np.ndarray] | None = None,
        *,
        gripper_target: float | None = None,
    ) -> None:
        """Put the arm at rest exactly at a pose, and the objects upright at theirs.

        Args:
            pose: tool pose, (P,).
            objects: by the name of an object, its x, y, z [m] and yaw [rad], (4,); others are where the scene has them.
            gripper_target: what the gripper is told to close to, to press on what it holds; None: as in the pose.
        """
        self._set_at_rest(self.data, self.solve(pose, REST_JOINTS), objects or {})
        if gripper_target is not None:
            self.data.ctrl[NUM_JOINTS:NUM_COORDINATES] = FINGER_STROKE * (1.0 - gripper_target)

    def move(self, action: np.ndarray) -> None:
        """Run one control step: head for the measured pose plus a displacement, clipped to the workspace.

        Args:
            action: displacement, (P,): [m], Euler angles of a rotation in the base frame [rad], change of the gripper.
        """
        now = self.pose()
        target = now + action
        target[3:6] = compose(action[3:6], now[3:6])
        target = np.clip(target, self.workspace.low, self.workspace.high)
        begin = self.data.ctrl.copy()
        change = self.solve(target, self.data.qpos[:NUM_JOINTS]) - begin
        for share in self._profile:
            self.data.ctrl[:] = begin + share * change
            mujoco.mj_step(self.model, self.data)
        self._refresh(self.data)

    def solve(self, pose: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return the joints of a pose, by damped Newton steps on the pose error and on joint 3.

        Args:
            pose: tool pose, (P,).
            start: arm joints to start from, (7,) [rad].

        Returns:
            Joints, (Q,) float64.

        Raises:
            ValueError: if no joints within the limits have that pose.
        """
        data, limits = self._scratch, self.model.jnt_range[:NUM_JOINTS]
        data.qpos[:] = self.model.qpos0  # whatever was looked at before must not show in the last digits
        rotation, error, joints = matrix_from_euler(pose[3:6]), np.zeros(7), np.array(start, dtype=np.float64)
        for _ in range(50):
            data.qpos[:NUM_JOINTS] = joints
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            mujoco.mj_jacSite(self.model, data, self._jacobian[:3], self._jacobian[3:6], self._tool)
            error[:3] = pose[:3] - data.site_xpos[self._tool]
            error[3:6] = _rotation_vector(rotation @ data.site_xmat[self._tool].reshape(3, 3).T)
            error[6] = -joints[2]
            if np.abs(error).max() < 1e-8:
                fingers = FINGER_STROKE * (1.0 - pose[6])
                return np.append(joints, [fingers, fingers])
            jacobian = self._jacobian[:, :NUM_JOINTS]
            step = np.linalg.solve(jacobian.T @ jacobian + 1e-9 * np.eye(NUM_JOINTS), jacobian.T @ error)
            joints = np.clip(joints + np.clip(step, -0.5, 0.5), limits[:, 0], limits[:, 1])
        raise ValueError(f"pose must be within the reach of the arm, got {np.round(pose, 3).tolist()}")

    def render_pose(self, pose: np.ndarray, objects: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Look at the arm at rest at a pose and at objects at theirs, leaving all where it is.

        Args:
            pose: tool pose, (P,).
            objects: as for `place`.

        Returns:
            The pictures, as `pictures` names them, and `state`, the pose measured there, (P,) float32.
        """
        self._set_at_rest(self._scratch, self.solve(pose, REST_JOINTS), objects or {})
        return self._pictures(self._scratch) | {"state": self._measure(self._scratch).astype(np.float32)}

    def _let_contacts_feel_the_damping(self) -> None:
        """Prepare a scene integrated by Euler's method, in which things are held.

        The servos' strong damping must be integrated implicitly at these time steps. MuJoCo's implicit integrators do
        so after the contacts are solved, which then take the arm for lighter than it moves, and what is held runs ahead
        of the fingers. An inertia raised by time step times damping moves the arm in the same way, and contacts know.
        """
        if int(self.model.opt.integrator) == int(mujoco.mjtIntegrator.mjINT_EULER):
            damping = -self.model.actuator_biasprm[:NUM_COORDINATES, 2]
            self.model.dof_armature[:NUM_COORDINATES] += self.model.opt.timestep * damping
            mujoco.mj_setConst(self.model, self.data)

    def _measure(self, data: mujoco.MjData) -> np.ndarray:
        angles = euler_from_matrix(data.site_xmat[self._tool].reshape(3, 3))
        gripper = 1.0 - data.qpos[NUM_JOINTS:NUM_COORDINATES].mean() / FINGER_STROKE
        return np.concatenate([data.site_xpos[self._tool], angles, [gripper]])

    def _set_at_rest(self, data: mujoco.MjData, joints: np.ndarray, objects: Mapping[str, np.ndarray]) -> None:
        mujoco.mj_resetData(self.model, data)
        data.qpos[:NUM_COORDINATES] = joints
        data.ctrl[:] = joints
        for name, (x, y, z, yaw) in objects.items():
            (joint,) = self.model.body(name).jntadr
            begin = self.model.jnt_qposadr[joint]
            data.qpos[begin : begin + 7] = x, y, z, cos(yaw / 2), 0.0, 0.0, sin(yaw / 2)
        self._refresh(data)


def _rotation_vector(matrix: np.ndarray) -> np.ndarray:
    quaternion, vector = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quaternion, matrix.ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
