#!/usr/bin/env bash
# Make the released world model of the plane again: about three and a half hours on two CPU cores, above the encoder that
# release_arm.sh pretrains. Every stage resumes, so the same command goes on after an interruption.
# Usage: scripts/release_plane.sh [OUT [OUT of release_arm.sh]]
set -euo pipefail
OUT=${1:-runs/plane}
ARM=${2:-runs/arm}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
WEIGHTS=${WEIGHTS:-$HERE/../vjepa_wm/weights}
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
# The same episodes in drawn looks and in the known one, and an encoder that takes the first for the second.
looks() { # NAME MODE SEED TASK EPISODES STEPS LAYOUT
    expert "$4" "$5" "$6" "$7" "looks_$1" --seed "$3" --variation.all "$2"
    expert "$4" "$5" "$6" "$7" "known_$1" --seed "$3"
}
looks mazes_all drawn 50 point_maze 600 24 drawn
looks mazes_each half_drawn 51 point_maze 900 24 drawn
looks rooms_all drawn 50 two_room 300 20 drawn
looks rooms_each half_drawn 51 two_room 400 20 drawn
looks eight_mazes half_drawn 52 point_maze 250 24 sampled
looks six_rooms half_drawn 52 two_room 200 20 sampled
"$BIN"/vjepa-wm train-looks --world-model "$OUT/proposal/world_model" --out "$OUT/looks" --steps 1900 --learning-rate 1e-3 \
    --decay-share 0.26 --data "$D"/looks_{mazes_all,mazes_each,rooms_all,rooms_each,eight_mazes,six_rooms} \
    --targets "$D"/known_{mazes_all,mazes_each,rooms_all,rooms_each,eight_mazes,six_rooms} --data-weights 0.18 0.32 0.09 0.14 0.15 0.12
# The last stage: a proposal that has seen the drawn looks as this encoder sees them.
"$BIN"/vjepa-wm train-proposal --fine-tune --world-model "$OUT/looks/world_model" --out "$OUT/proposal_looks" --scene-weight 0 \
    --steps 2500 --learning-rate 4e-4 --goal-at-end 0.7 \
    --data "$D"/looks_{mazes_all,mazes_each,rooms_all,rooms_each,eight_mazes,six_rooms} "$D"/{mazes,rooms,known_mazes} \
    --data-weights 0.14 0.18 0.05 0.05 0.08 0.04 0.3 0.06 0.1
"$BIN"/python "$HERE/release.py" "$OUT/proposal_looks/world_model" "$WEIGHTS/plane" point_maze two_room
