#!/bin/bash
# Every .c file is as clang-format leaves it. Other versions than 14 (Debian 12's) disagree about details, so they are not asked.
cd "$(dirname "$0")/.."
if ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    echo "ok 1 - format # SKIP clang-format 14 is not installed"
    exit 0
fi
bad=$(clang-format --dry-run -Werror {store,ingest,featurize,train,cli,tests,samples}/*.c 2>&1 | sed -nE 's/^([^:]+):.*/\1/p' | sort -u)
if [ -z "$bad" ]; then echo "ok 1 - format: every .c file is as clang-format leaves it"; exit 0; fi
echo "$bad" | sed 's/^/# make format would change /'
echo "not ok 1 - format"
exit 1
