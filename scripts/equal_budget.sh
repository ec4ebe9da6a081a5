#!/usr/bin/env bash
# What the lab notebook compares at equal budget (docs/experiments.md, rounds 30 to 34, 39 and 40), one part at a time, each
# about an hour of one CPU core. Every stage resumes. Usage: scripts/equal_budget.sh PART [OUT], PART one of
#   encoders  random weights, V-JEPA 2's loss, V-JEPA 2.1's, inverse dynamics beside it, patches of 8: a proposal of
#             grasp above each
#   episodes  10, 25, 50 and 100 % of 3,000 episodes of push
#   labels    proposals with and without poses of objects
#   rollouts  a predictor trained on 1, 2 and 4 steps fed back, and with inverse dynamics
#   search    horizons and energies
# SEED (0) is that of the proposals, EPISODES (50) is how many starts they play.
set -euo pipefail
PART=${1:?encoders, episodes, labels, rollouts or search}
OUT=${2:-runs/equal_budget}
SEED=${SEED:-0} EPISODES=${EPISODES:-50}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
ARM=$HERE/../vjepa_wm/weights/arm
D=$OUT/data R=$OUT/$PART S=seed_$SEED

vj() { "$BIN"/vjepa-wm "$@"; }
expert() { vj collect --env "$1" --policy noisy_expert --episodes "$2" --steps "$3" --out "$D/$1"; }
proposal() { # NAME TASK WORLD_MODEL, more options: train on the task's episodes, then play some of its protocol
    vj train-proposal --world-model "$3" --out "$R/$1/$S" --data "$D/$2" --steps 2500 --seed "$SEED" "${@:4}"
    vj evaluate --env "$2" --checkpoint "$R/$1/$S/world_model" --policies proposal_recovery --episodes "$EPISODES" --out "$R/$1/$S/eval"
}
encoder() { # NAME, more options
    vj pretrain --data "$D/grasp" --out "$R/$1" --batch-size 32 --augmentation.crop-scale 0.6 1.0 \
        --augmentation.crop-aspect 0.85 1.18 --augmentation.flip-probability 0 "${@:2}"
    # A proposal is a part of a world model, so the encoder gets a predictor, which is not used.
    vj train-ac --encoder "$R/$1/encoder" --out "$R/$1/ac" --data "$D/grasp" --steps 2 --batch-size 4 --num-frames 3 --rollout-steps 1
    proposal "$1/proposal" grasp "$R/$1/ac/world_model"
}
play() { vj evaluate --episodes "$EPISODES" --out "$R/$1" "${@:2}"; }

case $PART in
encoders)
    expert grasp 1500 18
    encoder random --steps 1 --learning-rate 1e-9
    encoder vjepa2 --steps 400 --objective.context-loss-weight 0
    encoder vjepa21 --steps 400
    encoder inverse --steps 260 --inverse.weight 1 --inverse.data "$D/grasp" # of the same budget, roughly (round 39)
    encoder patches_of_8 --steps 90 --encoder.patch-size 8                   # likewise
    ;;
episodes)
    expert push 3000 30
    proposal 3000 push "$ARM"
    for n in 300 750 1500; do proposal "$n" push "$ARM" --read.episodes $(seq 0 $((n - 1))); done
    ;;
labels)
    expert grasp 1500 18
    expert push 3000 30
    expert pick_place 1500 26
    expert drawer 500 20
    for task in grasp push pick_place drawer; do
        for weight in 0 1; do proposal "${task}_$weight" "$task" "$ARM" --label-weight "$weight"; done
    done
    ;;
rollouts)
    expert push 3000 30
    vj collect --env push --out "$D/push_play" --episodes 500 --steps 30 --seed 7
    rollout() {
        vj train-ac --encoder "$ARM" --out "$R/$1" --data "$D/push" "$D/push_play" --data-weights 1 1 --num-frames 5 \
            --steps 250 --batch-size 32 --rollout-steps "$2" "${@:3}"
    }
    for steps in 1 2 4; do rollout "$steps" "$steps"; done
    rollout inverse 2 --inverse-weight 0.3
    ;;
search)
    for h in 1 2 4 8; do
        play "reach_$h" --env reach --policies search --planner.method cem --planner.num-samples 32 \
            --planner.iterations 3 --planner.horizon "$h"
        play "grasp_$h" --env grasp --policies proposal_search --planner.horizon "$h"
    done
    for energy in l1 l2 cosine; do # reading has a weight for the proposal's word by itself
        play "grasp_$energy" --env grasp --policies proposal_search --planner.energy "$energy"
        play "grasp_${energy}_prior" --env grasp --policies proposal_search --planner.energy "$energy" --planner.prior-weight 0.001
    done
    ;;
*) echo "no part $PART: encoders, episodes, labels, rollouts or search" >&2 && exit 2 ;;
esac
