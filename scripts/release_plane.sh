#!/usr/bin/env bash
# Make the released world model of the plane again: about two hours on two CPU cores, above the encoder that
# release_arm.sh pretrains. Every stage resumes, so the same command goes on after an interruption.
# Usage: scripts/release_plane.sh [OUT [OUT of release_arm.sh]]
set -euo pipefail
OUT=${1:-runs/plane}
ARM=${2:-runs/arm}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
D=$OUT/data

expert() { "$BIN"/vjepa-wm collect --env "$1" --policy noisy_expert --episodes "$2" --steps "$3" --variation.layout "$4" --out "$D/$5"; }
expert point_maze 5000 30 drawn mazes
expert two_room 2000 24 drawn rooms
expert point_maze 1500 24 sampled known_mazes
expert two_room 1500 24 sampled known_rooms
"$BIN"/vjepa-wm collect --env point_maze --episodes 500 --steps 30 --seed 7 --variation.layout sampled --out "$D/play"
"$BIN"/vjepa-wm train-ac --encoder "$ARM/pretrain/encoder" --out "$OUT/ac" \
    --data "$D"/{play,known_mazes,known_rooms} --data-weights 0.4 0.3 0.3 --steps 800 --batch-size 32
"$BIN"/vjepa-wm train-proposal --world-model "$OUT/ac/world_model" --out "$OUT/any_layout" \
    --data "$D"/{mazes,rooms} --data-weights 0.75 0.25 --relation-dim 64 --relation-depth 8 --scene-weight 0 --steps 10000
"$BIN"/vjepa-wm train-proposal --world-model "$OUT/any_layout/world_model" --out "$OUT/proposal" --fine-tune \
    --data "$D"/{mazes,rooms,known_mazes} --data-weights 0.45 0.25 0.3 --scene-weight 0 --learning-rate 3e-4 --steps 3000
"$BIN"/python "$HERE/release.py" "$OUT/proposal/world_model" "$HERE/../vjepa_wm/weights/plane" point_maze two_room
