#!/usr/bin/env bash
# Make the released world model of the arm again, from nothing: about four hours on two CPU cores.
# Every stage resumes, so the same command goes on after an interruption. Usage: scripts/release_arm.sh [OUT]
set -euo pipefail
OUT=${1:-runs/arm}
HERE=$(dirname "$0")
BIN=${BIN:-$HERE/../.venv/bin}
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
"$BIN"/python "$HERE/release.py" "$OUT/proposal/world_model" "$HERE/../vjepa_wm/weights/arm" \
    reach push grasp pick_place drawer
