#!/bin/bash
# mpirun -n N clipstill featurize: each process its share and its folder; one that is killed takes nothing with it; merged, the shares are what
# one machine gives. Needs libopenmpi-dev and openmpi-bin.
# covers: rank
. "$(dirname "$0")/tap.sh"
if ! command -v mpirun >/dev/null || ! pkg-config --exists mpi-c; then skip "mpirun" "no libopenmpi-dev and openmpi-bin here"; finish; fi
if [[ $(nm -D ./clipstill 2>/dev/null) == *__asan* ]]; then skip "mpirun" "MPI's own leaks are not ours"; finish; fi
make -s DEPS=no MPI=1 build/clipstill-mpi >"$tmp/out" 2>&1
result $? "make MPI=1" "$(tail -n 5 "$tmp/out")" || finish
cp build/clipstill-mpi "$tmp/clipstill"
c=$tmp/cache
feat=(--teacher samples/teacher --numerics f32 --taps image.final,text.final --views 3 -j 1)
job() { timeout 200 mpirun --allow-run-as-root --oversubscribe --bind-to none "$@"; }
run ./clipstill ingest "$c" samples/corpus/field.tsv
cp -r "$c" "$tmp/one"
succeed "one machine" clip featurize "$tmp/one" "${feat[@]}"
./clipstill dump "$tmp/one" >"$tmp/want"

# process 0, which has the pictures, is killed in the middle of its work
job --enable-recovery -n 3 "$tmp/clipstill" featurize "$c" "${feat[@]}" --out "$tmp/parts" >"$tmp/job" 2>&1 & job=$!
victim=
for _ in $(seq 1200); do
    if [ -e "$tmp/parts/rank-0/features/image.final" ]; then
        for p in $(pgrep -f "^$tmp/clipstill featurize"); do
            tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx OMPI_COMM_WORLD_RANK=0 && victim=$p
        done
        break
    fi
    sleep 0.05
done
[ -n "$victim" ] && kill -9 "$victim"
result $? "a process is killed" "$(tail -n 5 "$tmp/job")"
wait $job
for i in 1 2; do result $(($(grep -c . "$tmp/parts/rank-$i/runs/"*.json) == 0)) "process $i ends its work" "$(tail -n 5 "$tmp/job")"; done
cp -r "$c" "$tmp/early"
expect "what the dead one lacks" 4 "" clip merge "$tmp/early" "$tmp"/parts/rank-* --complete
stdout_has "is named" "lacks records"

succeed "the same job goes on" job -n 3 "$tmp/clipstill" featurize "$c" "${feat[@]}" --out "$tmp/parts"
stdout_has "two find their work done" "^text.final +0 vectors computed, [1-9]"
expect "unite" 0 "" clip merge "$c" "$tmp"/parts/rank-* --complete
./clipstill dump "$c" >"$tmp/got"
same "three processes give what one machine gives" "$tmp/want" "$tmp/got"

run job -n 2 "$tmp/clipstill" featurize "$c" "${feat[@]}"
result $(($(grep -c "^clipstill: under mpirun featurize needs --out DIR" "$tmp/err") != 2)) "no folder" "$(cat "$tmp/err")"
expect "alone it is as any other" 0 "" "$tmp/clipstill" featurize "$c" "${feat[@]}"
finish
