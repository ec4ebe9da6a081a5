import math

import pytest
import torch

from vjepa_wm.models.sincos import axis_code, axis_widths, fixed_positions, fixed_positions_for


def test_published_values_of_a_small_table():
    token = fixed_positions(16, (2, 2, 2))[5]
    time = (0.8415, 0.0998, 0.01, 0.001, 0.5403, 0.995, 1, 1)
    assert token.tolist() == pytest.approx((*time, 0, 0, 1, 1, 0.8415, 0.01, 0.5403, 1), abs=6e-5)


@pytest.mark.parametrize(("embed_dim", "width"), [(1024, 342), (1280, 428), (1408, 470), (768, 256)])
def test_uniform_power_gives_the_published_share_to_each_axis(embed_dim, width):
    assert axis_widths(embed_dim, True) == (width,) * 3
    assert fixed_positions(embed_dim, (1, 2, 2), True).shape == (4, embed_dim)


def test_code_equals_the_formula():
    code = axis_code(torch.tensor([3.0]), 6)[0].tolist()
    angles = [3 * 10000 ** (-k / 3) for k in range(3)]
    assert code == pytest.approx([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def test_image_form_codes_rows_then_columns():
    table = fixed_positions(8, (1, 2, 3), image=True)
    row, column = axis_code(torch.tensor([1.0]), 4)[0], axis_code(torch.tensor([2.0]), 4)[0]
    torch.testing.assert_close(table[5], torch.cat((row, column)).float())


def test_fewer_steps_take_the_beginning_and_other_sizes_interpolate():
    trained = fixed_positions(16, (4, 2, 2))
    assert torch.equal(fixed_positions_for(16, (4, 2, 2), (3, 2, 2)), trained[:12])
    wide = fixed_positions_for(16, (4, 2, 2), (4, 2, 4)).view(4, 2, 4, 16)
    small = trained.view(4, 2, 2, 16)
    torch.testing.assert_close(wide[:, :, 1], 0.75 * small[:, :, 0] + 0.25 * small[:, :, 1])
    assert fixed_positions_for(16, (1, 2, 2), (1, 3, 3), image=True).shape == (9, 16)


def test_a_width_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="embed_dim must be a multiple of 8 for these fixed positions, got 36"):
        fixed_positions(36, (1, 2, 2))
    assert fixed_positions(36, (1, 2, 2), image=True).shape == (4, 36)
    assert fixed_positions(38, (1, 2, 2), True).shape == (4, 38)
