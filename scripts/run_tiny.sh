#!/usr/bin/env bash
# All stages from nothing at the smallest useful size, about a quarter of an hour on two CPU cores.
# Usage: scripts/run_tiny.sh [OUT]
set -euo pipefail
OUT=${1:-runs/tiny}
BIN=${BIN:-$(dirname "$0")/../.venv/bin}

"$BIN"/vjepa-wm collect --env reach --out "$OUT/data" --episodes 200 --image-size 64
"$BIN"/vjepa-wm pretrain --data "$OUT/data" --out "$OUT/pretrain" --steps 1500 \
    --encoder.image-size 64 --encoder.embed-dim 128 --encoder.depth 4 --encoder.num-heads 2 \
    --predictor-dim 64 --predictor-depth 2 --predictor-heads 2 \
    --augmentation.crop-scale 0.6 1.0 --augmentation.crop-aspect 0.85 1.18 --augmentation.flip-probability 0
"$BIN"/vjepa-wm probe --data "$OUT/data" --encoder "$OUT/pretrain/encoder" --max-episodes 100
"$BIN"/vjepa-wm train-ac --data "$OUT/data" --encoder "$OUT/pretrain/encoder" --out "$OUT/train_ac" --steps 1500 \
    --predictor-dim 128 --predictor-heads 2
"$BIN"/vjepa-wm evaluate --env reach --checkpoint "$OUT/train_ac/world_model" --out "$OUT/evaluate" --episodes 20 \
    --policies world_model random zero
