import csv

import pytest
import torch

from vjepa_wm.training.run.metrics import MetricsWriter, effective_rank, feature_std


def test_collapse_shows():
    white = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    line = white[:, :1] * torch.arange(1.0, 9.0)
    assert effective_rank(white) == pytest.approx(8.0, abs=0.05)
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-3)
    assert feature_std(white) == pytest.approx(1.0, abs=0.05)
    assert feature_std(torch.ones(10, 8)) == 0.0


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_writes_no_row_twice(tmp_path):
    path = tmp_path / "metrics.csv"
    writer = MetricsWriter(path)
    for step in (9, 19, 29):
        writer.write(step, {"loss": step / 10})
    writer = MetricsWriter(path, first_step=20)
    writer.write(29, {"loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read(path)] == [("9", "0.9"), ("19", "1.9"), ("29", "7")]


def test_a_late_column_keeps_earlier_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    writer = MetricsWriter(path)
    writer.write(0, {"loss": 1.0})
    writer.write(1, {"loss": 2.0, "val": 3.0})
    writer.write(2, {"loss": 4.0})
    assert [(row["loss"], row["val"]) for row in read(path)] == [("1", ""), ("2", "3"), ("4", "")]


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\r\n9,0.5\r\n19,0.4\r\n2")
    writer = MetricsWriter(path, first_step=30)
    writer.write(29, {"loss": 0.25})
    assert [(row["step"], row["loss"]) for row in read(path)] == [("9", "0.5"), ("19", "0.4"), ("29", "0.25")]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_failed_rewrite_keeps_the_rows(tmp_path, monkeypatch):
    path = tmp_path / "metrics.csv"
    MetricsWriter(path).write(0, {"loss": 1.0})
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda self, rows: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        MetricsWriter(path, first_step=1).write(1, {"loss": 2.0})
    assert [row["loss"] for row in read(path)] == ["1"]
