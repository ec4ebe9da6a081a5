import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from vjepa_wm.training.run.curves import draw_curves, draw_metrics, moving_mean, read_metrics


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_empty_cells_and_numbers_that_are_not_finite_become_nan(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,val\r\n9,0.5,\r\n19,inf,0.25\r\n29,nan\r\n")
    columns = read_metrics(path)
    np.testing.assert_array_equal(columns["step"], [9, 19, 29])
    np.testing.assert_array_equal(columns["loss"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(columns["val"], [np.nan, 0.25, np.nan])


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match=r"must have a column 'step', as training writes it, got .*'epoch', 'loss'"):
        draw_curves(path, tmp_path / "metrics.png")
    path.write_text("step,loss\n1,low\n")
    with pytest.raises(ValueError, match=r"must hold numbers only: .*'low'"):
        draw_curves(path, tmp_path / "metrics.png")


@pytest.mark.parametrize("width", [1, 3, 5, 99])
def test_the_mean_at_the_ends_is_over_what_is_there(width):
    values = np.random.default_rng(0).normal(size=12)
    half = width // 2
    expected = [values[max(i - half, 0) : i + half + 1].mean() for i in range(12)]
    np.testing.assert_allclose(moving_mean(values, width), expected)


def test_many_points_are_a_mean_above_faint_values_and_few_are_dots():
    steps = np.arange(200.0)
    values = np.random.default_rng(0).normal(size=200)
    few = np.where(steps % 50 == 49, 0.5, np.nan)
    axes = panels(draw_metrics({"step": steps, "teacher_loss": values, "val_teacher": few}))["Loss of one step ahead"]
    raw, mean, held_out = axes.lines
    np.testing.assert_array_equal(raw.get_ydata(), values)
    assert raw.get_alpha() < 0.5
    assert np.std(mean.get_ydata()) < 0.5 * np.std(values)
    assert to_rgb(raw.get_color()) == to_rgb(mean.get_color()) != to_rgb(held_out.get_color())
    np.testing.assert_array_equal(held_out.get_xdata(), [49, 99, 149, 199])
    assert held_out.get_marker() == "o"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "held-out episodes"]


def test_settings_keep_their_jumps():
    frames = np.where(np.arange(100) < 90, 16.0, 64.0)
    (line,) = panels(draw_metrics({"step": np.arange(100.0), "num_frames": frames}))["num_frames"].lines
    np.testing.assert_array_equal(line.get_ydata(), frames)


def test_each_panel_has_its_axis_and_terms_switched_off_have_none():
    steps = np.arange(5.0)
    wide, narrow = np.array([0.1, 0.0, 3.0, 100.0, 1.0]), np.linspace(0.5, 0.7, 5)
    columns = {"step": steps, "loss": narrow, "context_loss": 0 * steps, "variance_loss": 0 * steps}
    axes = panels(draw_metrics(columns | {"grad_norm": wide, "target_std": 0 * steps, "new": narrow}))
    assert list(axes) == ["Prediction loss", "Spread of target features", "Size of the gradient", "new"]
    assert len(axes["Prediction loss"].lines) == 1
    assert axes["Size of the gradient"].get_yscale() == "log"
    same = panels(draw_metrics({"step": steps, "grad_norm": narrow}))["Size of the gradient"]
    assert same.get_yscale() == "linear"


@pytest.mark.parametrize("text", ["", "step,loss\r\n", "step,loss,grad_norm,val_teacher\r\n49,0.5,0,\r\n"])
def test_a_run_that_just_began_can_be_drawn(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    draw_curves(tmp_path / "metrics.csv", tmp_path / "metrics.png")
    with Image.open(tmp_path / "metrics.png") as picture:
        colors = np.asarray(picture.convert("L"))
    assert picture.width > 600 and colors.min() < 150
