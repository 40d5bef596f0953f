#!/bin/bash
# `featurize --dry-run` foresees the bytes of each set within 10%: on the sample corpus with the sample teacher, what is said against what is
# then written.
. tests/tap.sh
clip ingest "$tmp/c" samples/corpus/public.tsv >/dev/null 2>&1
bytes() { grep -oE '"bytes": *[0-9]+' "$1" | grep -oE '[0-9]+$'; }
for store in default bf16; do
    args=(featurize "$tmp/c" --teacher samples/teacher --taps image.final,image.block2@2x2,text.final,text.block2.mean --json)
    [ $store = default ] || args+=(--store $store)
    clip "${args[@]}" --dry-run 2>/dev/null >"$tmp/said"
    clip "${args[@]}" 2>/dev/null >"$tmp/written"
    off=$(paste <(bytes "$tmp/said") <(bytes "$tmp/written") |
        awk '!($2 > 0 && $1 / $2 <= 1.1 && $1 / $2 >= 0.9) { print $1, "bytes said,", $2, "written" } END { if (NR != 4) print NR, "sets" }')
    result "$([ -z "$off" ]; echo $?)" "$store: bytes said and written are within 10%" "$off"
    rm -rf "$tmp/c/features"
done
finish
