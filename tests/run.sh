#!/bin/bash
# Runs test programs and scripts that speak TAP ("ok N - name", "not ok N - name", "# SKIP why"), one after the other, shows only what
# failed or was skipped, and ends with "N passed, N failed, N skipped". A program that dies, hangs or prints no test counts as a failure.
# usage: run.sh TIMEOUT_S PROGRAM...
set -u
# a busy machine: threads that wait must not spin on the cores that the others need
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
limit=$1; shift
passed=0; failed=0; skipped=0
for t in "$@"; do
    start=$SECONDS
    name=${t#bash }; name=$(basename -- "${name%% *}")
    out=$(timeout -k 10 "$limit" $t 2>&1 </dev/null); rc=$?
    ok=$(grep -cE '^ok ' <<<"$out"); skip=$(grep -cE '^ok .*# SKIP' <<<"$out"); bad=$(grep -cE '^not ok ' <<<"$out")
    if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; out+=$'\n'"not ok - $t ended with exit code $rc"; fi
    if [ $((ok + bad)) -eq 0 ]; then bad=1; out+=$'\n'"not ok - $t ran no test"; fi
    passed=$((passed + ok - skip)); skipped=$((skipped + skip)); failed=$((failed + bad))
    printf '%-44s %4d passed %3d failed %3d skipped  %3d s\n' "$name" $((ok - skip)) "$bad" "$skip" $((SECONDS - start))
    [ "$bad" -gt 0 ] && tail -n 60 <<<"$out" | sed 's/^/    /'
    [ "$skip" -gt 0 ] && grep -E '^ok .*# SKIP' <<<"$out" | sed 's/^/    /'
done
if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
