#!/bin/sh
# Runs every case of this kit on a device and compares: ./run.sh CMD [ARGUMENT ...]
# CMD ARGUMENT ... PROGRAM RESULT must write the result file (README.txt). Exit status 0: all pass.
[ $# -gt 0 ] || { echo "usage: $0 CMD [ARGUMENT ...]" >&2; exit 2; }
kit=$(cd "$(dirname "$0")" && pwd) || exit 2
result=$(mktemp) || exit 2
trap 'rm -f "$result"' EXIT
trap 'exit 130' INT TERM

# The reason for `outcome unsupported` if the result file says that and nothing else.
unsupported() {
    outcome=$(LC_ALL=C sed -n '2s/^outcome unsupported\( .*\)\{0,1\}$/&/p' "$result" 2>/dev/null)
    [ -n "$outcome" ] && printf 'tessera-result 1\n%s\ndone\n' "$outcome" | cmp -s - "$result"
}

pass=0 fail=0
while read -r name; do
    rm -f "$result"
    if ! "$@" "$kit/programs/$name.bin" "$result" </dev/null; then
        verdict="crashed $name"
    elif cmp -s "$result" "$kit/expected/$name.txt"; then
        pass=$((pass + 1))
        continue
    elif unsupported; then
        why=${outcome#outcome unsupported}
        verdict="unsupported $name${why:+:$why}"
    else
        verdict="fail $name"
    fi
    fail=$((fail + 1))
    echo "$verdict"
done <"$kit/cases.txt"
echo "$pass pass, $fail do not"
[ "$fail" -eq 0 ]
