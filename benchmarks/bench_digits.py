"""What an encoder makes of real labelled pictures: scikit-learn's handwritten digits, by frozen features.

1,797 scans of 8 x 8 grey levels in ten classes come inside scikit-learn (the extra `bench`), so nothing is fetched.
They are written as a folder of classes and told by the heads of `classify`, on the released encoder of the arm, which
has seen simulated scenes only, beside one of random weights. The same fifth of every class is the test of both;
a tenth of the rest chooses the learning rate.

    python benchmarks/bench_digits.py OUT [--heads linear attentive-1 knn] [--encoder runs/pretrain ...] [--limit 1797]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from bench_motion import RELEASED, write_random_encoder
from PIL import Image

from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.run import classify

WHITEST = 16
MARGIN = 1
"""Pixels of background around a scan, since the centre is cut out of what an encoder sees."""


def write_digits(out: Path, limit: int) -> None:
    """Write the digits as pictures in a folder for each class; those that are there stay."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (scan, label) in enumerate(zip(digits.images[:limit], digits.target[:limit], strict=True)):
        path = out / str(label) / f"{number:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = np.pad(np.rint(scan * (255 / WHITEST)).astype(np.uint8), MARGIN)
            Image.fromarray(levels).convert("RGB").save(path)


def main() -> None:
    """Write the digits, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", nargs="+", default=["linear", "attentive-1", "knn"])
    parser.add_argument("--encoder", type=Path, nargs="*", default=[], help="folders of encoders to measure too")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, default=1797, help="the first so many of the pictures")
    args = parser.parse_args()
    write_digits(args.out / "digits", args.limit)
    encoders = {"random": write_random_encoder(args.out, 0), "released": RELEASED}
    encoders |= {path.name: path for path in args.encoder}
    print(f"{'encoder':20}" + "".join(f"{head:>14}" for head in args.heads))
    for name, encoder in encoders.items():
        config = ClassifyConfig(
            data=args.out / "digits",
            encoder=str(encoder),
            out=args.out / f"{name}_heads",
            clips=ClipOptions(num_frames=1),
            heads=tuple(args.heads),
            learning_rates=(1e-2, 1e-3),
            epochs=args.epochs,
            batch_size=32,
            encode_batch_size=16,
            precision="fp32",
        )
        classify(config)
        results = json.loads((config.out / "results.json").read_text())
        shares = [results["heads"][head]["test"]["class"]["top1"] for head in args.heads]
        print(f"{name:20}" + "".join(f"{share:14.1%}" for share in shares), flush=True)
    print(f"top-1 of {results['test']['num_items']} test pictures, {results['train']['num_items']} to train on")


if __name__ == "__main__":
    main()
