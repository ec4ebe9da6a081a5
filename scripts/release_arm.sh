#!/usr/bin/env bash
# Make the released world model of the arm again, from nothing: about four hours on two CPU cores.
# Every stage resumes, so the same command goes on after an interruption. Usage: scripts/release_arm.sh [OUT]
set -euo pipefail
OUT=${1:-runs/arm}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
D=$OUT/data

# name, task, policy, episodes, steps, seed, looks
collect() {
    "$BIN"/vjepa-wm collect --out "$D/$1" --env "$2" --policy "$3" --episodes "$4" --steps "$5" --seed "$6" \
        --variation.all "$7"
}
collect push_looks push noisy_expert 1500 30 11 drawn
collect grasp_looks grasp noisy_expert 800 18 12 drawn
collect drawer_looks drawer noisy_expert 700 20 13 drawn
collect pick_place_looks pick_place noisy_expert 700 26 14 drawn
collect push_play push play 600 30 15 drawn
collect reach_looks reach noisy_expert 500 12 16 drawn
collect point_maze_looks point_maze noisy_expert 400 30 17 drawn
collect two_room_looks two_room noisy_expert 400 24 18 drawn
collect push push noisy_expert 600 30 31 default
collect grasp grasp noisy_expert 300 18 32 default
collect drawer drawer noisy_expert 300 20 33 default
collect pick_place pick_place noisy_expert 400 26 34 default
"$BIN"/vjepa-wm pretrain --out "$OUT/pretrain" --steps 4000 --batch-size 32 --loader.cache-gib 10 \
    --data "$D"/{push_looks,grasp_looks,drawer_looks,pick_place_looks,push_play,reach_looks,point_maze_looks,two_room_looks} \
    "$D"/{push,grasp,pick_place,drawer} \
    --augmentation.crop-scale 0.6 1.0 --augmentation.crop-aspect 0.85 1.18 --augmentation.flip-probability 0

collect push_more_looks push noisy_expert 2500 30 51 drawn
collect grasp_more_looks grasp noisy_expert 800 18 52 drawn
collect drawer_more_looks drawer noisy_expert 300 20 53 drawn
collect pick_place_more_looks pick_place noisy_expert 1000 26 54 drawn
collect push_more push noisy_expert 1000 30 61 default
"$BIN"/vjepa-wm train-ac --encoder "$OUT/pretrain/encoder" --out "$OUT/ac" \
    --data "$D"/{push_play,push_more_looks,push,grasp_looks,grasp,pick_place_looks,drawer_looks} \
    --data-weights 0.25 0.2 0.1 0.15 0.05 0.15 0.1 \
    --num-frames 4 --rollout-steps 3 --steps 1200 --batch-size 32
"$BIN"/vjepa-wm train-proposal --world-model "$OUT/ac/world_model" --out "$OUT/proposal" \
    --data "$D"/{push_looks,push_more_looks,push,push_more,grasp_looks,grasp_more_looks,grasp} \
    "$D"/{pick_place_looks,pick_place_more_looks,pick_place,drawer_looks,drawer_more_looks,drawer,reach_looks} \
    --data-weights 0.13 0.2 0.05 0.08 0.08 0.08 0.03 0.08 0.1 0.04 0.05 0.02 0.02 0.04 \
    --steps 11000 --hidden-dim 512 --reader-dim 28 --relation-dim 64
"$BIN"/python "$HERE/release.py" "$OUT/proposal/world_model" "$HERE/../vjepa_wm/weights/arm" \
    reach push grasp pick_place drawer
