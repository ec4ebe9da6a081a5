"""Chooses how to render before any test imports mujoco."""

import pytest

from vjepa_wm.envs import choose_renderer

choose_renderer()


@pytest.fixture(scope="module")
def without_curves():
    """Leave out the picture that ends a training run, which takes ten times what the few steps of a test do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vjepa_wm.training.run.run_log.draw_curves", lambda *paths: None)
        yield
