#!/bin/sh
# ./train.sh PATH_OF_DATASET_JSON [ITERATIONS] [OPTION=VALUE ...]: train as the submitted run was trained.
# The run folder appears in models/outputs; MODEL=models/outputs/NAME ./test.sh ... then uses it.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
data=$(CDPATH= cd -- "$(dirname -- "$1")" && pwd)
shift
steps=""
if [ -n "${1:-}" ]; then
    case "$1" in *=*) ;; *) steps="trainer.max_steps=$1"; shift ;; esac
fi
mkdir -p "$here/models"
cd "$here/models"
exec "${PYTHON:-python}" -m medreg.cli.main train @OVERRIDES@ logger=none "data.dataset.root=$data" $steps "$@"
