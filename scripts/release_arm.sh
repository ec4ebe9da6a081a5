#!/usr/bin/env bash
# Make the released world model of the arm again, from nothing: about seven hours on two CPU cores.
# Every stage resumes, so the same command goes on after an interruption. Usage: scripts/release_arm.sh [OUT]
set -euo pipefail
OUT=${1:-runs/arm}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
WEIGHTS=${WEIGHTS:-$HERE/../vjepa_wm/weights}
D=$OUT/data

"$BIN"/vjepa-wm collect --env reach --out "$D/reach_play" --episodes 600
"$BIN"/vjepa-wm pretrain --data "$D/reach_play" --out "$OUT/pretrain" \
    --augmentation.crop-scale 0.6 1.0 --augmentation.crop-aspect 0.85 1.18 --augmentation.flip-probability 0
expert() { "$BIN"/vjepa-wm collect --env "$1" --policy noisy_expert --episodes "$2" --steps "$3" --out "$D/$1"; }
expert push 7000 30
expert grasp 3000 18
expert pick_place 4000 26
expert drawer 1000 20
expert reach 400 12
"$BIN"/vjepa-wm collect --env push --out "$D/push_play" --episodes 800 --steps 30 --seed 7
"$BIN"/vjepa-wm collect --env grasp --out "$D/grasp_play" --episodes 600 --steps 30 --seed 7
"$BIN"/vjepa-wm train-ac --encoder "$OUT/pretrain/encoder" --out "$OUT/ac" \
    --data "$D"/{push_play,push,grasp_play,grasp,pick_place} --data-weights 0.3 0.2 0.2 0.15 0.15 \
    --num-frames 4 --rollout-steps 3 --steps 1400 --batch-size 32
"$BIN"/vjepa-wm train-proposal --world-model "$OUT/ac/world_model" --out "$OUT/proposal" \
    --data "$D"/{push,grasp,pick_place,drawer,reach} --data-weights 0.45 0.2 0.22 0.07 0.06 \
    --steps 16000 --hidden-dim 512 --reader-dim 28 --relation-dim 64
# The same episodes in drawn looks and in the known one, and an encoder that takes the first for the second.
looks() { # NAME MODE SEED TASK EPISODES STEPS, more options
    expert_at "$4" "$5" "$6" "$3" "looks_$1" --variation.all "$2" "${@:7}"
    expert_at "$4" "$5" "$6" "$3" "known_$1"
}
expert_at() { "$BIN"/vjepa-wm collect --env "$1" --policy noisy_expert --episodes "$2" --steps "$3" --seed "$4" --out "$D/$5" "${@:6}"; }
SAME_PHYSICS="--variation.friction default --variation.mass default"
looks push drawn 50 push 1500 30 $SAME_PHYSICS
looks grasp drawn 50 grasp 800 18 $SAME_PHYSICS
looks pick_place drawn 50 pick_place 900 26 $SAME_PHYSICS
looks drawer drawn 50 drawer 500 20 $SAME_PHYSICS
looks reach drawn 50 reach 300 12
looks push_each half_drawn 51 push 1100 30 $SAME_PHYSICS
looks grasp_each half_drawn 51 grasp 700 18 $SAME_PHYSICS
looks pick_place_each half_drawn 51 pick_place 500 26 $SAME_PHYSICS
looks drawer_each half_drawn 51 drawer 300 20 $SAME_PHYSICS
looks reach_each half_drawn 51 reach 300 12
learn_looks() { # WORLD_MODEL, then options
    "$BIN"/vjepa-wm train-looks --world-model "$1" --learning-rate 1e-3 "${@:2}"
}
all_at_once() {
    learn_looks "$OUT/proposal/world_model" --decay-share 0.5 --data "$D"/looks_{push,grasp,pick_place,drawer,reach} \
        --targets "$D"/known_{push,grasp,pick_place,drawer,reach} --data-weights 0.4 0.2 0.25 0.1 0.05 "$@"
}
all_at_once --out "$OUT/looks_first" --loss l1 --change-share 0 --proposal-weight 0 --steps 3000
all_at_once --out "$OUT/looks_second" --start-from "$OUT/looks_first/world_model" --steps 1000
learn_looks "$OUT/looks_second/world_model" --out "$OUT/looks" --steps 1400 --decay-share 0.43 \
    --data "$D"/looks_{push,push_each,grasp,grasp_each,pick_place,pick_place_each,drawer,drawer_each,reach_each} \
    --targets "$D"/known_{push,push_each,grasp,grasp_each,pick_place,pick_place_each,drawer,drawer_each,reach_each} \
    --data-weights 0.14 0.26 0.07 0.13 0.09 0.15 0.04 0.07 0.05
# The last stage: a proposal that has seen the drawn looks as this encoder sees them.
"$BIN"/vjepa-wm train-proposal --fine-tune --world-model "$OUT/looks/world_model" --out "$OUT/proposal_looks" \
    --steps 3000 --learning-rate 4e-4 --data \
    "$D"/looks_{push,push_each,grasp,grasp_each,pick_place,pick_place_each,drawer,drawer_each,reach_each} \
    "$D"/{push,grasp,pick_place,drawer,known_reach_each} \
    --data-weights 0.1 0.13 0.04 0.06 0.04 0.06 0.02 0.02 0.03 0.22 0.1 0.11 0.04 0.03
"$BIN"/python "$HERE/release.py" "$OUT/proposal_looks/world_model" "$WEIGHTS/arm" \
    reach push grasp pick_place drawer
