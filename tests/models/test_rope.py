import math

import pytest
import torch

from vjepa_wm.models.rope import apply_rotary, check_rope, grid_positions, rotary_tables, segment_size


@pytest.mark.parametrize(("head_dim", "size"), [(64, 20), (80, 26), (88, 28), (104, 34), (32, 10), (6, 2)])
def test_segment_size_leaves_the_tail_of_the_published_models(head_dim, size):
    assert segment_size(head_dim) == size


def rotate_unit(position: int, axis: int, unit: int, form: str) -> list[float]:
    """Rotate one basis vector of a 12-wide head, whose three segments are 4 wide, and return its time segment."""
    x = torch.zeros(1, 1, 1, 12)
    x[..., 4 * axis + unit] = 1.0
    positions = torch.zeros(1, 3)
    positions[0, axis] = position
    return apply_rotary(x, rotary_tables(positions, 12, form))[0, 0, 0, 4 * axis : 4 * axis + 4].tolist()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("position", "unit", "expected"),
    [
        (1, 0, (0.540302, 0.010000, 0, 0)),
        (1, 1, (-0.841471, 0.999950, 0, 0)),
        (1, 2, (0, 0, 0.540302, 0.010000)),
        (1, 3, (0, 0, -0.841471, 0.999950)),
        (5, 0, (0.283662, 0.049979, 0, 0)),
        (5, 1, (0.958924, 0.998750, 0, 0)),
    ],
)
def test_tiled_form_has_the_published_values(axis, position, unit, expected):
    assert rotate_unit(position, axis, unit, "tiled") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", ["tiled", "true"])
@pytest.mark.parametrize("head_dim", [10, 24, 32, 64, 80])
def test_tables_equal_the_formula_dimension_by_dimension(form, head_dim):
    generator = torch.Generator().manual_seed(head_dim)
    x = torch.randn(head_dim, generator=generator)
    position = (3, 7, 11)
    size = segment_size(head_dim)
    expected = x.tolist()
    for axis in range(3):
        for d in range(size):
            half = size // 2
            k = d % half if form == "tiled" else d // 2
            angle = position[axis] * 10000 ** (-k / half)
            here = axis * size + d
            partner = here + 1 if d % 2 == 0 else here - 1
            sign = -1 if d % 2 == 0 else 1
            expected[here] = float(x[here]) * math.cos(angle) + sign * float(x[partner]) * math.sin(angle)
    result = apply_rotary(x.view(1, 1, 1, -1), rotary_tables(torch.tensor([position]), head_dim, form))
    assert result.flatten().tolist() == pytest.approx(expected, abs=3e-6)


def test_only_the_true_form_is_a_rotation():
    x = torch.randn(1, 1, 1, 64, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[5.0, 3.0, 9.0]])
    ratio = {f: float(apply_rotary(x, rotary_tables(positions, 64, f)).norm() / x.norm()) for f in ("true", "tiled")}
    assert ratio["true"] == pytest.approx(1.0, abs=1e-5)
    assert abs(ratio["tiled"] - 1.0) > 1e-3


def test_true_form_scores_depend_on_the_offset_alone():
    q, k = torch.randn(2, 1, 1, 1, 64, generator=torch.Generator().manual_seed(0))

    def score(a, b):
        at = [apply_rotary(x, rotary_tables(torch.tensor([p]), 64, "true")) for x, p in ((q, a), (k, b))]
        return float((at[0] * at[1]).sum())

    assert score((1, 2, 3), (4, 0, 8)) == pytest.approx(score((6, 5, 4), (9, 3, 9)), abs=1e-4)


@pytest.mark.parametrize("form", ["tiled", "true"])
def test_gradients_equal_those_of_the_formula(form):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 2, 5, 32, generator=generator, requires_grad=True)  # (q and k, B, h, N, d)
    weights = torch.randn(2, 3, 2, 5, 32, generator=generator)
    cos, sin = tables = rotary_tables(torch.rand(3, 5, 3, generator=generator), 32, form)
    partners = x[..., torch.arange(32) ^ 1]
    (wanted,) = torch.autograd.grad(((x * cos + partners * sin) * weights).sum(), x)
    (found,) = torch.autograd.grad((apply_rotary(x, tables) * weights).sum(), x)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_number_format_turns_alike(dtype):
    x = torch.randn(1, 2, 5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    tables = rotary_tables(torch.rand(5, 3), 32, "true", dtype)
    expected = apply_rotary(x.float(), type(tables)(*(table.float() for table in tables)))
    assert apply_rotary(x, tables).dtype == dtype
    torch.testing.assert_close(apply_rotary(x, tables).float(), expected, atol=0.03, rtol=0.0)


def test_positions_count_time_major_then_row_then_column():
    positions = grid_positions(torch.tensor([[0, 5, 6, 29]]), (2, 3))
    assert positions.tolist() == [[[0, 0, 0], [0, 1, 2], [1, 0, 0], [4, 1, 2]]]


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"rope must be one of tiled, true or None, got 'half'"):
        check_rope("half")
    with pytest.raises(ValueError, match=r"head_dim .* must be at least 6 .* got 4"):
        rotary_tables(torch.zeros(1, 3), 4, "true")
