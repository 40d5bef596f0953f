#!/bin/bash
# What the storage of features costs in retrieval: samples/storage.sh [./clipstill]. Featurises the sample corpus with the sample teacher
# once a storage and judges the teacher from its cached features: bytes a vector of each set's file, recalls over ten languages. The table
# in README.md (Numbers) is made by this and by tests/bench_size.c.
set -eu
cd "$(dirname "$0")/.."
clip=${1:-./clipstill}
tmp=$(mktemp -d /tmp/clipstill-storage-XXXXXX)
trap 'rm -rf "$tmp"' EXIT
$clip ingest "$tmp/c" samples/corpus/public.tsv --quiet >/dev/null 2>&1 || [ $? = 3 ]

mean() { # METRIC: of the teacher's row, over languages
    $clip eval "$tmp/c" --no-zero-shot --metric "$1" 2>/dev/null | awk '$1 == "teacher" { print $NF }'
}

echo "| storage | image.final, bytes a vector | text.final | t2i R@1 % | i2t R@1 % | mean recall % |"
echo "|---|---|---|---|---|---|"
for store in f32 f16 bf16 q1e-6 q1e-5 q1e-4 q1e-3 q1e-2; do
    rm -rf "$tmp/c/features"
    $clip featurize "$tmp/c" --teacher samples/teacher --numerics f32 --store $store --json 2>/dev/null >"$tmp/sets"
    bytes=$(paste -d' ' <(grep -oE '"bytes": *[0-9]+' "$tmp/sets") <(grep -oE '"computed": *[0-9]+' "$tmp/sets" | tail -2) |
        sed 's/[^0-9 ]//g' | awk '{ printf("%s%.0f", (NR > 1 ? " | " : ""), $1 / $2) }')
    echo "| \`$store\` | $bytes | $(mean 't2i R@1') | $(mean 'i2t R@1') | $(mean MR) |"
done
