#!/usr/bin/env bash
# Make the released world model of the reach task again: about an hour and a half on two CPU cores.
# Every stage resumes, so the same command goes on after an interruption. Usage: scripts/release_reach.sh [OUT]
set -euo pipefail
OUT=${1:-runs/reach}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}

"$BIN"/vjepa-wm collect --env reach --out "$OUT/data" --episodes 600 --seed 0
"$BIN"/vjepa-wm collect --env reach --out "$OUT/held_out" --episodes 120 --seed 1
"$BIN"/vjepa-wm pretrain --data "$OUT/data" --out "$OUT/pretrain" \
    --augmentation.crop-scale 0.6 1.0 --augmentation.crop-aspect 0.85 1.18 --augmentation.flip-probability 0
"$BIN"/vjepa-wm probe --data "$OUT/held_out" --encoder "$OUT/pretrain/encoder"
"$BIN"/vjepa-wm train-ac --data "$OUT/data" --encoder "$OUT/pretrain/encoder" --out "$OUT/train_ac"
"$BIN"/python "$HERE/release.py" "$OUT/train_ac/world_model" "$HERE/../vjepa_wm/weights/reach"
"$BIN"/vjepa-wm evaluate --env reach --out "$OUT/evaluate" --episodes 100
