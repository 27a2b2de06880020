#!/usr/bin/env bash
# Holds both executors and the C model against the conformance kit: tests/conformance.sh [--full]
# Reports go to programs/build/conformance. Everything runs, whatever fails.
set -euo pipefail
cd "$(dirname "$0")/.."

emu=.venv/bin/emu
out=programs/build/conformance
status=0
mkdir -p "$out"

hold() { # NAME DEVICE [OPTION ...]
    local name=$1 device=$2
    shift 2
    "$emu" conformance run --dut "$device" --jobs "${JOBS:-2}" --junit "$out/$name.xml" \
        --json "$out/$name.json" --html "$out/$name.html" "$@" || status=1
    echo
}

# A full run takes long: what an unchanged device has done already is not done again.
full=()
if [ "${1:-}" = --full ]; then full=(--full --resume); fi

hold fast fast "${full[@]}"
if command -v "${CC:-cc}" >/dev/null; then
    make --no-print-directory -s -C tests/dut_c CC="${CC:-cc}" OUT="$PWD/$out/dut_c"
    hold c "$PWD/$out/dut_c {program} {output}" "${full[@]}"
else
    echo "no C compiler: the C model is not run"
fi
hold reference reference
exit "$status"
