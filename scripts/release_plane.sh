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

expert() { "$BIN"/vjepa-wm collect --env "$1" --policy noisy_expert --episodes "$2" --steps "$3" --variation.layout "$4" --out "$D/$5" "${@:6}"; }
expert point_maze 5000 30 drawn mazes
expert point_maze 10000 30 drawn more_mazes --seed 20
expert two_room 2000 24 drawn rooms
expert point_maze 1500 24 sampled known_mazes
expert two_room 1500 24 sampled known_rooms
"$BIN"/vjepa-wm collect --env point_maze --episodes 500 --steps 30 --seed 7 --variation.layout sampled --out "$D/play"
"$BIN"/vjepa-wm train-ac --encoder "$ARM/pretrain/encoder" --out "$OUT/ac" \
    --data "$D"/{play,known_mazes,known_rooms} --data-weights 0.4 0.3 0.3 --steps 800 --batch-size 32
learn() {
    "$BIN"/vjepa-wm train-proposal --data "$D"/{mazes,more_mazes,rooms,known_mazes} --scene-weight 0 --steps 7000 "$@"
}
learn --world-model "$OUT/ac/world_model" --out "$OUT/proposal_first" --data-weights 0.22 0.43 0.15 0.2 \
    --reader-dim 28 --relation-dim 64 --relation-depth 2 --relation-rounds 6
learn --world-model "$OUT/proposal_first/world_model" --out "$OUT/proposal" --data-weights 0.25 0.48 0.12 0.15 \
    --fine-tune --goal-at-end 0.7 --learning-rate 7e-4
"$BIN"/python "$HERE/release.py" "$OUT/proposal/world_model" "$HERE/../vjepa_wm/weights/plane" point_maze two_room
