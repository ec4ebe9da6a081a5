"""Folders as `evaluate` writes them, of made-up episodes that take no simulator; and a reader of their pages."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from vjepa_wm.data.media.video import encode_video
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol
from vjepa_wm.evaluation.results_folder import ResultsFolder, read_evaluation, save_episode
from vjepa_wm.evaluation.runner import PolicyResult

STEPS = 4
SOLVED = 0.05
"""Final distance up to which an episode is solved [m]."""
VOID = {"meta", "img", "input"}


def make_protocol(num_episodes, **changes):
    episodes = tuple(Episode(seed=100 + k, options={"goal": [0.1 * k]}) for k in range(num_episodes))
    return EvaluationProtocol(**{"name": "p", "task": "point", "steps": STEPS, "episodes": episodes} | changes)


def make_record(final, seed=1, *, energies=False):
    """Make an episode that begins 30 cm from the goal and ends at a final distance [m]."""
    distances = np.linspace(0.3, final, STEPS + 1)
    return EpisodeResult(
        seed=seed,
        distances=tuple(distances.tolist()),
        reached=tuple((distances <= SOLVED).tolist()),
        energies=tuple((distances**2).tolist()) if energies else None,
        seconds_per_action=0.25,
    )


def make_video(k):
    return encode_video(np.full((2, 16, 32, 3), 10 * k, np.uint8), 5)


def write_evaluation(folder, finals, protocol=None, *, energies=(), **settings):
    """Write the folder of an evaluation that has not come to its table.

    Args:
        folder: where.
        finals: final distance of each episode by the name of the policy; None: not played.
        protocol: what is measured.
        energies: policies that have energies.
        **settings: what results depend on.

    Returns:
        What it holds.
    """
    protocol = protocol or make_protocol(max(map(len, finals.values())))
    rule = {"success_rule": "within 5 cm of the goal"}
    with ResultsFolder(folder, protocol, {"env": "point", "seed": 0} | rule | settings):
        for policy, ends in finals.items():
            for k, final in enumerate(ends):
                if final is not None:
                    record = make_record(final, protocol.episodes[k].seed, energies=policy in energies)
                    save_episode(folder, policy, k, record, make_video(k))
    return read_evaluation(folder)


def results_of(evaluation):
    return [
        PolicyResult(policy=policy, episodes=tuple(evaluation.records(policy).values()))
        for policy in evaluation.policies()
    ]


class Page(HTMLParser):
    """What a page says and refers to; reading one whose tags do not match fails."""

    def __init__(self, path):
        super().__init__()
        self.open_tags, self.tags, self.texts = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag, self.getpos()

    def handle_data(self, text):
        if text.strip() and self.open_tags[-1] not in ("style", "script"):
            self.texts.append(text.strip())

    def all(self, tag, **attributes):
        """Return the attributes of every tag of a kind that has these attributes."""
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]

    def addresses(self):
        """Return everything that is loaded."""
        return [found[name] for _, found in self.tags for name in ("src", "href", "poster") if name in found]
