#!/usr/bin/env bash
# Acceptance on a GPU, in one command and under 9 minutes on one H200, without network:
#   bench/acceptance_gpu.sh FOLDER
# runs the tests marked `gpu`, the suites in their paper sizes, and the zoo beside its predictions, and leaves records,
# environment, tables and figures in FOLDER, and all of it in FOLDER/acceptance.tar.gz.
# Needs the package's dependencies and pytest in the Python that `python3` (or $PYTHON) names; revbench itself need not
# be installed. What comes back belongs into reports/measured/<gpu>/ with the commit it was measured at.
set -uo pipefail
if [ $# -ne 1 ]; then
    sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,8p
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
python=${PYTHON:-python3}
link=$(mktemp -d)
trap 'rm -rf "$link"' EXIT
ln -s "$root" "$link/revbench"
export PYTHONPATH="$link${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 COLUMNS=140
cd "$link" || exit 2

"$python" -c "import torch, typer, pydantic, rich, pandas, matplotlib, pynvml, pytest" || exit 2
"$python" -c "import torch; assert torch.cuda.is_available(), 'torch finds no CUDA device'" || exit 2
git -C "$root" rev-parse HEAD >"$out/commit.txt" 2>/dev/null || echo "${COMMIT:-unknown}" >"$out/commit.txt"

failures=0
budget_s=525
attempt() {
    local limit_s=$1 name=$2 left_s=$((budget_s - SECONDS))
    shift 2
    [ "$limit_s" -lt "$left_s" ] || limit_s=$left_s
    [ "$limit_s" -gt 0 ] || limit_s=1
    echo "=== $name (after $SECONDS s)"
    timeout "$limit_s" "$@" 2>&1 | tee "$out/$name.log"
    local status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || { echo "=== $name ended with exit code $status"; failures=$((failures + 1)); }
}
measure() {
    local suite=$1
    shift
    local arguments=(-m revbench run --suite "$suite" --format png,svg,pdf)
    for axis in "$@"; do arguments+=(--set "$axis"); done
    attempt 200 "$suite" "$python" "${arguments[@]}" --device cuda --out "$out/$suite"
}

attempt 120 gpu-tests "$python" -m pytest "$root/tests" -m gpu -q -p no:cacheprovider
measure depth-scaling batch_size=128 width=64
measure cifar batch_size=32
measure recomputation batch_size=128
measure event batch_size=16
# The zoo, predicted beside measured, as far as it comes: the small families and the papers' sizes are first.
attempt 180 validation "$python" -m revbench validate --limit-s 140 --out "$out/validation"

# Joules of one model: 3 windows of 10 s each of training and of inference, and idleness around them.
if [ $((budget_s - SECONDS)) -ge 130 ]; then
    attempt 130 joules "$python" -m revbench.bench.benchmarks.joules --windows 3 revsresnet37
else
    echo "=== joules left out: $((budget_s - SECONDS)) s are left, 130 are needed"
fi

# T-RevSNN beside the Spike-driven Transformer at 224x224, as far as time is left.
measure imagenet models=trevsnn_small,sdt8_512 passes=memory,time batch_size=64 dtype=float16

tar -C "$out" --exclude acceptance.tar.gz -czf "$link/acceptance.tar.gz" . && mv "$link/acceptance.tar.gz" "$out"
echo "=== $failures of the parts failed; all results are in $out"
[ "$failures" -eq 0 ]
