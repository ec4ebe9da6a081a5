"""Print how much the pictures of OpenGL and of rays differ: `python benchmarks/bench_renderers.py [TASK ...]`.

In grey levels of 255, in time, and for a world model: the distance of the latents of both, as a share of that between
neighbouring frames. With --evaluate N, how well it plans with either, also to goal pictures that the other drew.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from vjepa_wm import envs
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol_files import load_protocol
from vjepa_wm.evaluation.success_rate import wilson_interval
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe

RENDERERS = ("gl", "ray")


def draw_both(task: str, num_frames: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return by renderer the pictures of the same states, (T, S, S, 3), and the median time of one [ms]."""
    pair = {name: envs.make(task, renderer=name) for name in RENDERERS}
    frames, seconds = {name: [] for name in RENDERERS}, {name: [] for name in RENDERERS}
    rng, main = np.random.default_rng(0), pair["gl"]
    for k in range(num_frames):
        if k % 20 == 0:
            pair["ray"].reset(seed=k), main.reset(seed=k)
        main.advance(rng.uniform(main.action_space.low, main.action_space.high))
        pair["ray"].set_state(main.get_state())
        for name, env in pair.items():
            begin = time.perf_counter()
            frames[name].append(env.render())
            seconds[name].append(time.perf_counter() - begin)
    main.close()
    return {name: np.stack(frames[name]) for name in pair}, {name: 1e3 * np.median(seconds[name]) for name in pair}


def latent_ratio(model, frames: dict[str, np.ndarray]) -> float:
    """Return the distance of the latents of both pictures over that of neighbouring frames."""
    with torch.no_grad():
        gl, ray = (model.encode(torch.from_numpy(frames[name])[None])[0] for name in RENDERERS)
    return ((gl - ray).norm(dim=(1, 2)).mean() / (gl[1:] - gl[:-1]).norm(dim=(1, 2)).median()).item()


def compare_planning(num_episodes: int, recipe: StandRecipe) -> None:
    """Print the success of the same episodes for each renderer of what is seen and of the goal."""
    pair = {name: envs.make("reach", renderer=name) for name in RENDERERS}
    protocol, agent = load_protocol("reach").first(num_episodes), recipe.make_stand("world_model").agent
    for seen, env in pair.items():
        for drawn, goal_env in pair.items():
            results = []
            for k, episode in enumerate(protocol.episodes):
                goal = goal_env.reset(seed=episode.seed, options=episode.reset_options())[1]["goal"]["image"]
                results.append(play_episode(agent, env, protocol, episode, seed=k, goal_image=goal).result)
            solved = sum(result.success_last for result in results)
            low, high = wilson_interval(solved, num_episodes)
            final = 100 * np.mean([result.distances[-1] for result in results])
            rate = f"{solved}/{num_episodes} ({low:.0%} .. {high:.0%})"
            print(f"sees {seen:4} goal by {drawn:4} success {rate:20} final distance {final:.2f} cm", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=envs.TASKS, help=f"of {', '.join(envs.TASKS)}")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--checkpoint", help="world model; none: the released one of reach")
    parser.add_argument("--evaluate", type=int, default=0, metavar="N", help="episodes of reach to plan")
    args = parser.parse_args()

    envs.choose_renderer("gl")
    recipe = StandRecipe(task="reach", checkpoint=args.checkpoint, planner=PlannerOptions(), precision="auto")
    model = recipe.load_model()
    print("task         mean diff  max diff  off by > 8   gl ms  ray ms  latent ratio")
    for task in args.tasks:
        frames, ms = draw_both(task, args.frames)
        off = np.abs(frames["gl"].astype(int) - frames["ray"])
        share, ratio = (off.max(axis=-1) > 8).mean(), latent_ratio(model, frames)
        print(
            f"{task:12} {off.mean():9.2f} {off.max():9d} {share:11.2%} {ms['gl']:7.2f} {ms['ray']:7.2f} {ratio:13.3f}"
        )
    if args.evaluate:
        compare_planning(args.evaluate, recipe)


if __name__ == "__main__":
    main()
