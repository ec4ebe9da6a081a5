from __future__ import annotations

import numpy as np
import pytest
from point_world import POINT, PointEnv, PointExpert, picture

from vjepa_wm.agents.agent import ScriptedAgent, StandStill, policy_of

HERE, GOAL = np.full(7, 0.2, np.float32), np.full(7, 0.25, np.float32)
OBS = {"image": picture(HERE), "state": HERE}
INFO = {"goal": {"state": GOAL}}


def test_standing_still_is_the_zero_action():
    action = StandStill(7)(OBS, INFO)
    assert action.dtype == np.float32 and action.tolist() == [0.0] * 7
    assert StandStill(2)(OBS, INFO).shape == (2,)


def test_a_script_has_no_energy_and_needs_no_picture():
    agent = ScriptedAgent(lambda rng: StandStill(7))
    agent.reset(picture(GOAL), 0)
    agent.show_goal(picture(HERE))
    assert policy_of(agent)(OBS, INFO).tolist() == [0.0] * 7
    assert agent.last_energy is None and agent.measure(picture(HERE)) is None


@pytest.mark.parametrize("name", ["expert", "random"])
def test_a_script_repeats_with_the_seed_of_its_episode(name):
    env = PointEnv()
    agent = ScriptedAgent(lambda rng: POINT.make_policy(name, env, rng))

    def draw(seed):
        agent.reset(picture(GOAL), seed)
        return np.stack([policy_of(agent)(OBS, INFO) for _ in range(5)])

    first = draw(0)
    assert np.array_equal(first, draw(0)) and not np.array_equal(first, draw(1))


def test_of_the_info_only_scripts_see_anything():
    given = []

    class Sighted:
        def act(self, *what):
            given.append(what)
            return np.zeros(7, np.float32)

    policy_of(Sighted())(OBS | {"image_side": picture(GOAL)}, INFO)
    ((image, state),) = given
    assert image is OBS["image"] and state is OBS["state"]
    script = ScriptedAgent(PointExpert)
    script.reset(picture(GOAL), 0)
    assert (policy_of(script)(OBS, INFO)[:3] > 0.04).all()  # towards the goal, which is in the info alone
