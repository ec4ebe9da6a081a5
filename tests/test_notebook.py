"""The notebook runs as it stands, from an empty folder to a prediction."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs/classify.ipynb"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_cell_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    out = capsys.readouterr().out
    assert "attentive-1" in out and "finetuned" in out and "clips/left/0.mp4" in out
    assert (tmp_path / "runs/predictions/predictions.png").is_file()
    assert (tmp_path / "runs/tuned/finetuned/encoder/model.safetensors").is_file()
