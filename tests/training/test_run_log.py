import csv
import io
import logging
import resource
import sys
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vjepa_wm.training.run import run_log
from vjepa_wm.training.run.run_log import Pace, RunLog, duration, peak_memory, short_number

STEPS = 12


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def train(folder, *, first_step=0, last_step=STEPS, **options):
    with RunLog(folder, first_step=first_step, total_steps=STEPS, samples_per_step=8, **options) as log:
        for step in range(first_step, last_step):
            log.step(step)
            if step % 2:
                log.write(step, {"loss": 1 / (step + 1)} | ({"val_over_copy": 0.5} if step % 4 == 3 else {}))


def age(folder):
    # TensorBoard reads its files in the order of their names, which begin with the second they were made in.
    for file in folder.glob("tensorboard/*"):
        file.rename(file.with_name(file.name.replace(file.name.split(".")[3], "1000000000")))


def points(folder, name):
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return {event.step: event.value for event in board.Scalars(name)}, len(board.Scalars(name))


def test_a_resumed_run_leaves_the_same_csv(tmp_path):
    train(tmp_path / "whole")
    train(tmp_path / "parts", last_step=9)
    train(tmp_path / "parts", first_step=5)
    whole, parts = ((tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    with (tmp_path / "whole/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 3, 5, 7, 9, 11]
    assert set(rows[0]) == {"step", "loss", "val_over_copy"}


def test_tensorboard_gets_every_point_once_with_speed_and_memory(tmp_path):
    train(tmp_path, last_step=9, tensorboard=True)
    age(tmp_path)
    train(tmp_path, first_step=5, tensorboard=True)
    loss, count = points(tmp_path, "metrics/loss")
    assert loss == pytest.approx({step: 1 / (step + 1) for step in (1, 3, 5, 7, 9, 11)})
    assert count == len(loss)
    assert points(tmp_path, "metrics/val_over_copy")[0] == {3: 0.5, 7: 0.5, 11: 0.5}
    rate, samples = (points(tmp_path, f"machine/{name}_per_second")[0] for name in ("steps", "clips"))
    assert samples == pytest.approx({step: 8 * value for step, value in rate.items()})
    assert 0.01 < points(tmp_path, "machine/peak_memory_gib")[0][11] < 1000


def test_a_run_from_the_start_hides_the_points_of_an_older_one(tmp_path):
    train(tmp_path, tensorboard=True)
    age(tmp_path)
    train(tmp_path, last_step=4, tensorboard=True)
    assert set(points(tmp_path, "metrics/loss")[0]) == {1, 3}


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ValueError, match=r"^TensorBoard is not installed: pip install 'vjepa_wm\[log\]', or leave --t"):
        train(tmp_path, tensorboard=True)
    train(tmp_path)


def test_a_file_gets_a_line_per_row(tmp_path, caplog, clock, monkeypatch):
    caplog.set_level(logging.INFO, logger=run_log.__name__)
    monkeypatch.setattr(run_log, "peak_memory", lambda: 3 * 2**29)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with RunLog(
        tmp_path, first_step=99, total_steps=5000, samples_per_step=48, name="train-ac", samples="windows"
    ) as log:
        for step in range(99, 200):
            clock.now += 60.0 if step == 99 else 0.5  # reading the first videos is no speed
            log.step(step)
            if step == 149:
                log.write(step, {"teacher_loss": 0.41234, "val_over_copy": 0.6, "grad_norm": 1.0})
        log.write(199, {"teacher_loss": 0.39999, "grad_norm": 1.0})
    assert [record.getMessage() for record in caplog.records] == [
        "train-ac 150/5000    3%  2.00 steps/s  96.0 windows/s  40 min left  1.5 GiB  teacher_loss 0.412"
        "  val_over_copy 0.600",
        "train-ac 200/5000    4%  2.00 steps/s  96.0 windows/s  40 min left  1.5 GiB  teacher_loss 0.400"
        "  val_over_copy 0.600",
    ]
    assert sys.stderr.getvalue() == ""


def test_a_terminal_gets_a_bar_and_no_lines(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with RunLog(tmp_path, first_step=2, total_steps=10, samples_per_step=4) as log:
        log.step(2)
        log.step(3)
        log.write(3, {"loss": 0.5, "target_std": 0.9, "target_rank": 18.46, "ema": 0.99})
    text = sys.stderr.getvalue()
    assert "4/10" in text and "loss 0.500, target_std 0.900, target_rank 18.5" in text
    assert "clips/s" in text and "GiB" in text and "ema" not in text
    assert not caplog.records


def test_curves_are_drawn_at_the_end_whatever_ended_it(tmp_path):
    train(tmp_path / "empty", last_step=1)
    assert not (tmp_path / "empty/metrics.png").exists()
    with pytest.raises(FloatingPointError), RunLog(tmp_path, total_steps=2, samples_per_step=1) as log:
        log.write(0, {"loss": 1.0})
        raise FloatingPointError
    (tmp_path / "metrics.png").unlink()
    log.close()
    assert not (tmp_path / "metrics.png").exists()


def test_speed_leaves_out_the_start_and_averages_the_time_left():
    pace = Pace(10, 0.0)
    assert pace.mark(12, 4.0) == (0.5, 0.5)
    pace = Pace(10, 0.0)
    pace.begin(11, 100.0)
    assert pace.mark(11, 100.0) == pytest.approx((0.01, 0.01))  # nothing but the first step is known
    assert pace.mark(21, 105.0) == (2.0, 2.0)
    pace.begin(22, 106.0)
    assert pace.mark(31, 115.0) == pytest.approx((1.0, 20 / 15))
    for index in range(run_log.NUM_MARKS):
        rates = pace.mark(41 + 10 * index, 125.0 + 10 * index)
    assert rates == pytest.approx((1.0, 1.0))


def test_memory_is_in_bytes_on_every_system(monkeypatch):
    usage = SimpleNamespace(ru_maxrss=3_000_000)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for platform, expected in (("linux", 3_000_000 * 1024), ("darwin", 3_000_000), ("win32", None)):
        monkeypatch.setattr(sys, "platform", platform)
        assert peak_memory() == expected
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: [5, 7][index])
    assert peak_memory() == 7


def test_a_system_that_does_not_tell_memory_shows_none(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(run_log, "peak_memory", lambda: None)
    train(tmp_path, tensorboard=True)
    assert len(caplog.records) == 6 and "GiB" not in caplog.text
    with pytest.raises(KeyError):
        points(tmp_path, "machine/peak_memory_gib")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (3569, "59 min"),
        (3571, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86_399, "1 d 0 h"),
        (273_000, "3 d 4 h"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_numbers_have_three_digits():
    numbers = (0.0, 0.4, 0.41234, 1.0, 77.84, 99.97, 1234.5, 1e-6, float("nan"))
    assert [short_number(value) for value in numbers] == (
        ["0.00", "0.400", "0.412", "1.00", "77.8", "100", "1234", "1.00e-06", "nan"]
    )
