#!/bin/bash
# Memory of a full AltCLIP (ViT-L/14, XLM-R large, random weights): featurize of a few pictures and captions, the weight file not in the page cache, in a
# memory cgroup where one can be made (v1 or v2). Anonymous memory at its peak is printed and held under the limits below. ALTCLIP=DIR takes a folder that
# build/make_altclip wrote; otherwise one is made, 3.5 GB in TMPDIR, and removed.
. "$(dirname "$0")/tap.sh"
group=
trap '[ -z "$group" ] || rmdir "$group"; rm -rf "${made:-}"; clean_up' EXIT

# A cgroup of our own with a limit in MiB; nothing where none can be made.
for parent in /sys/fs/cgroup/memory /sys/fs/cgroup; do
    for file in memory.limit_in_bytes memory.max; do
        [ -z "$group" ] || continue
        mkdir "$parent/clipstill-test-$$" 2>/dev/null || continue
        if echo $((1 << 30)) 2>/dev/null >"$parent/clipstill-test-$$/$file"; then group=$parent/clipstill-test-$$ limit=$file
        else rmdir "$parent/clipstill-test-$$"; fi
    done
done

# under MIB COMMAND...: runs it, in the group if there is one; $peak is its anonymous memory at the most, in MiB
under() {
    local mib=$1 anon pid rc
    shift
    [ -z "$group" ] || echo $((mib << 20)) >"$group/$limit"
    GROUP=$group bash -c '[ -z "$GROUP" ] || echo $$ >"$GROUP/cgroup.procs"; exec "$@"' bash "$@" >"$tmp/out" 2>"$tmp/err" </dev/null &
    pid=$! peak=0
    while anon=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null) && [ -n "$anon" ]; do
        [ "$anon" -le $((peak << 10)) ] || peak=$(((anon + 1023) >> 10))
        sleep 0.02
    done
    wait $pid; rc=$?
    return $rc
}

# checked NAME MIB COMMAND...
checked() {
    local name=$1 mib=$2 rc
    shift 2
    for f in "$full"/*.safetensors; do dd if="$f" iflag=nocache count=0 2>/dev/null; done
    under "$mib" "$@"; rc=$?
    echo "# $name: anonymous memory $peak MiB at the most, $([ -n "$group" ] && echo "in a cgroup of $mib MiB" || echo "no cgroup could be made")"
    holds "$name ends well" [ $rc = 0 ] || sed 's/^/# /' "$tmp/err"
    holds "$name stays under $mib MiB" [ "$peak" -gt 0 -a "$peak" -lt "$mib" ]
}

full=${ALTCLIP:-}
if [ -z "$full" ]; then
    if [ "$(df -Pk "$tmp" | awk 'NR==2 {print int($4 / 1048576)}')" -lt 5 ]; then
        skip "a full AltCLIP" "no 5 GB free in $tmp"; finish
    fi
    made=$tmp/full full=$tmp/full
    succeed "make a full AltCLIP" build/make_altclip "$full"
fi
mkdir "$tmp/src"; cp tests/golden/altclip-tiny/inputs/*.jpg "$tmp/src"
(printf 'image\tcaption\n'; for i in 0 1 2 3 4 5; do printf '%s.jpg\tred apple and dog, number %s\n' $i $i; done) >"$tmp/src/m.tsv"
succeed "ingest" clip ingest "$tmp/c" "$tmp/src/m.tsv"

if grep -qw avx512_bf16 /proc/cpuinfo; then
    checked "pictures in bf16" 1200 ./clipstill featurize "$tmp/c" --teacher "$full" --taps image.final --numerics bf16 --prefix bf16
    checked "captions in bf16" 1300 ./clipstill featurize "$tmp/c" --teacher "$full" --taps text.final --numerics bf16 --prefix bf16
else
    skip "bf16" "this CPU has no bf16 instructions"
fi
checked "pictures and captions in f32" 1900 ./clipstill featurize "$tmp/c" --teacher "$full" --taps image.final,text.final --numerics f32
succeed "embed the same picture outside of it" clip embed --model "$full" --image "$tmp/src/0.jpg" --numerics f32
cp "$tmp/out" "$tmp/free"
checked "one picture in f32" 1900 ./clipstill embed --model "$full" --image "$tmp/src/0.jpg" --numerics f32
same "memory changes no bit" "$tmp/free" "$tmp/out"
finish
