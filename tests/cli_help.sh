#!/bin/bash
# The README's reference block is what `clipstill help --markdown` prints (make readme), and every command is in the manual page.
. "$(dirname "$0")/tap.sh"
if grep -q '<!-- reference: begin -->' README.md 2>/dev/null; then
    sed -n '/<!-- reference: begin -->/,/<!-- reference: end -->/{/<!-- reference:/!p}' README.md >"$tmp/readme"
    ./clipstill help --markdown >"$tmp/reference"
    same "README.md has the reference as it is (make readme)" "$tmp/readme" "$tmp/reference"
else
    skip "README.md has the reference" "README.md has no reference block"
fi
succeed "the manual page is printed" clip help --man
cp "$tmp/out" "$tmp/page"
for verb in $(./clipstill --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
    holds "the manual page has $verb" grep -q "^.*$verb" "$tmp/page"
    holds "README.md speaks of $verb" grep -q "### .clipstill $verb" README.md
done
if command -v man >/dev/null; then
    holds "man reads it without complaint" bash -c "! man -l --warnings '$tmp/page' 2>&1 >/dev/null | grep ."
fi
finish
