"""Make the protocols that come with the package, of all tasks or of those named: `make_protocols.py [TASK ...]`.

A changed one needs a higher version.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from functools import partial

from vjepa_wm.envs import TASKS, VariationConfig, find_task, make
from vjepa_wm.evaluation.protocol import make_ahead_protocol, make_protocol
from vjepa_wm.evaluation.protocol_files import FOLDER, save_protocol

NUM_EPISODES = 100
STEPS = {"reach": 12}
"""Of tasks whose budget is not the steps that leave an expert time to spare."""
GOAL_STEPS = {"pick_place": (20, 20)}
"""How long each but the last of the ordered goal pictures is shown."""
VERSIONS = {"point_maze": 2, "two_room": 2}
"""Of protocols that have changed: these were of one layout each."""
AHEAD = {"push": 10}
"""Tasks with a protocol in the style of DINO-WM: steps from start to goal on a held-out trajectory."""


def main() -> None:
    """Write them."""
    for name in sys.argv[1:] or TASKS:
        task = find_task(name)
        settings = {"task": name, "num_episodes": NUM_EPISODES, "seed": 0}
        steps, goal_steps = STEPS.get(name, task.usual_steps), GOAL_STEPS.get(name, ())
        held_out = dict.fromkeys(task.usual_variation, "held_out")
        for suffix, variation in (("", task.usual_variation), ("_held_out", held_out)):
            if suffix and not variation:
                continue
            with closing(make(task, image_size=32, variation=VariationConfig.of(variation))) as env:
                protocol = make_protocol(
                    env, name=name + suffix, steps=steps, goal_steps=goal_steps, variation=variation, **settings
                )
            protocol = replace(protocol, version=VERSIONS.get(name + suffix, 1))
            save_protocol(protocol, FOLDER / f"{name}{suffix}.json")
            if goal_steps:  # the same episodes with the last picture alone
                final = replace(protocol, name=f"{name}{suffix}_final", goal_steps=())
                save_protocol(final, FOLDER / f"{final.name}.json")
        with closing(make(task, image_size=32)) as env:
            if ahead := AHEAD.get(name):
                policy = partial(task.make_policy, "noisy_expert", env)
                named = {"name": f"{name}_ahead", "ahead": ahead, "steps": 2 * ahead, "latest_start": 10}
                save_protocol(make_ahead_protocol(env, policy, **named, **settings), FOLDER / f"{name}_ahead.json")
        print(name)


if __name__ == "__main__":
    main()
