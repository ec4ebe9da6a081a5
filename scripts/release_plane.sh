#!/usr/bin/env bash
# Make the released world model of the plane again: about an hour on two CPU cores, above the encoder of the arm's.
# Every stage resumes, so the same command goes on after an interruption. Usage: scripts/release_plane.sh [OUT]
set -euo pipefail
OUT=${1:-runs/plane}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
D=$OUT/data

"$BIN"/vjepa-wm collect --env point_maze --policy noisy_expert --episodes 2000 --steps 24 --out "$D/point_maze"
"$BIN"/vjepa-wm collect --env two_room --policy noisy_expert --episodes 1500 --steps 24 --out "$D/two_room"
"$BIN"/vjepa-wm collect --env point_maze --episodes 500 --steps 30 --seed 7 --out "$D/point_maze_play"
"$BIN"/vjepa-wm train-ac --encoder "$HERE/../vjepa_wm/weights/arm" --out "$OUT/ac" \
    --data "$D"/{point_maze_play,point_maze,two_room} --data-weights 0.4 0.3 0.3 --steps 800 --batch-size 32
"$BIN"/vjepa-wm train-proposal --world-model "$OUT/ac/world_model" --out "$OUT/proposal" \
    --data "$D"/{point_maze,two_room} --steps 7000
"$BIN"/python "$HERE/release.py" "$OUT/proposal/world_model" "$HERE/../vjepa_wm/weights/plane" point_maze two_room
