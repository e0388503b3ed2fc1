#!/bin/sh
# ./test.sh PATH_OF_DATASET_JSON [GPU]: fields of registration_test (else registration_val) as output/disp_F_M.nii.gz.
# GPU is the number of a device; without it, or with -1, the CPU computes. MODEL and OUTPUT name other folders.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
data=$(CDPATH= cd -- "$(dirname -- "$1")" && pwd)
device=cpu
if [ -n "${2:-}" ] && [ "$2" != "-1" ]; then device="cuda:$2"; fi
exec "${PYTHON:-python}" -m medreg.cli.main submit --run "${MODEL:-$here/models/run}" --task @TASK@ --data "$data" \
    --split auto --device "$device" -o "${OUTPUT:-$here/output}"
