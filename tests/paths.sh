#!/usr/bin/env bash
# Runs bit tests and the conformance kit on every path of the kernels: tests/paths.sh [PATH ...]
# Paths: native, avx2, x86-64 (no AVX, no FMA), aarch64 (emulated). Everything runs, whatever fails.
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=${JOBS:-2}
kernels=(tests/test_kernels_{matrix,digits,vector,exponentials}.py
    tests/test_equality_random.py)
programs=(tests/test_kernels_table.py tests/test_fast_machine.py tests/test_bits.py tests/test_paths.py)
failed=()

run() { # WHAT COMMAND ...: one line before, one after
    local what=$1 start=$SECONDS verdict=passed
    shift
    echo "== $what"
    "$@" || { verdict=FAILED; failed+=("$what"); }
    printf '== %s: %s in %d s\n\n' "$what" "$verdict" $((SECONDS - start))
}

bits() { # PYTEST'S ARGUMENTS
    .venv/bin/python -m pytest -q -n "$jobs" --dist worksteal --hypothesis-profile ci "$@"
}

hold() { # PATH [CPU FEATURES]
    export TESSERA_PATH=$1
    # The name alone would mask nothing: Numba would go on taking this machine's features.
    if [ $# = 3 ]; then export NUMBA_CPU_NAME=$2 NUMBA_CPU_FEATURES=$3; fi
    run "$1: kernels and programs" bits "${kernels[@]}" "${programs[@]}"
    run "$1: conformance" .venv/bin/emu conformance run --dut fast --jobs "$jobs"
    unset TESSERA_PATH NUMBA_CPU_NAME NUMBA_CPU_FEATURES
}

hold_aarch64() {
    export TESSERA_AARCH64=$PWD/programs/build/aarch64 PYTHONPATH=tests
    rm -rf "$TESSERA_AARCH64"
    run "aarch64: compiled" .venv/bin/python -m aarch64.compiled "$TESSERA_AARCH64"
    run "aarch64: machine code" bits tests/test_aarch64.py
    run "aarch64: kernels and programs" bits -p aarch64.replaced "${kernels[@]}"
    run "aarch64: conformance" .venv/bin/python -m aarch64.replaced conformance run --dut fast \
        --jobs "$jobs"
    unset TESSERA_AARCH64 PYTHONPATH
}

paths=("$@")
if [ $# = 0 ]; then
    paths=(native)
    if [ "$(uname -m)" = x86_64 ]; then paths+=(avx2 x86-64); fi
    if [ "$(uname -s)" = Linux ]; then paths+=(aarch64); fi
fi
for path in "${paths[@]}"; do
    case $path in
        native) hold native ;;
        avx2) hold avx2 haswell +avx2,+fma ;;
        x86-64) hold x86-64 x86-64 +sse2 ;;
        aarch64) hold_aarch64 ;;
        *) echo "tests/paths.sh: no path $path (native, avx2, x86-64, aarch64)" >&2; exit 2 ;;
    esac
done
if [ ${#failed[@]} != 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo "the same bits on: ${paths[*]}"
