#!/bin/bash
# What `make install` puts down is enough for a stranger: the sample program is built with pkg-config alone, away from the tree, and reads
# what export writes; no name but those of clipstill.h is visible; `make uninstall` leaves nothing.
. "$(dirname "$0")/tap.sh"
root=$tmp/root prefix=/opt/clip c=$tmp/cache
# flags come through the environment, as in `make SAN=... test`; the jobs of that make are not ours
unset MAKEFLAGS MFLAGS MAKELEVEL
cc=${CC:-gcc}; san=${SAN:+-fsanitize=$SAN}
for tool in make pkg-config "$cc" nm; do
    command -v "$tool" >/dev/null || { skip "make install" "$tool is not installed"; finish; }
done
succeed "make install" make -s install DEPS=no DESTDIR="$root" PREFIX=$prefix
holds "the program runs" "$root$prefix/bin/clipstill" --help
export PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root LD_LIBRARY_PATH=$root$prefix/lib
succeed "pkg-config knows its version" pkg-config --modversion clipstill
stdout_has "which is the program's" "^$(./clipstill --version | grep -oE '[0-9.]+' | head -n 1)$"
mkdir "$tmp/away"; cp "$root$prefix/share/doc/clipstill/read_features.c" "$tmp/away/"
cd "$tmp/away"
succeed "the sample is built with pkg-config alone" $cc -std=c11 -Wall -Wextra -Wpedantic -Werror $san read_features.c -o shared $(pkg-config --cflags --libs clipstill)
succeed "and statically" $cc -std=c11 $san read_features.c -o static $(pkg-config --cflags clipstill) "$root$prefix/lib/libclipstill-read.a" $(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/clipstill.pc")
printf '#include <clipstill.h>\nint main() { clipstill_close(nullptr); }\n' >cc.cc
cxx=${CXX:-g++}
if command -v "$cxx" >/dev/null; then succeed "the header is C++ as well" $cxx -Wall -Wextra -Werror $san cc.cc -o cxx $(pkg-config --cflags --libs clipstill); else skip "C++" "$cxx is not installed"; fi
printf '#include <clipstill.h>\nint codec_init(void) { return 7; }\nint error_set(void) { return 8; }\nint main(void) { struct clipstill *c; return clipstill_open(&c, "none", 0) == CLIPSTILL_ERR_NOT_FOUND && codec_init() == 7 ? 0 : 1; }\n' >names.c
succeed "names of ours are free for others" $cc $san names.c -o names $(pkg-config --cflags clipstill) "$root$prefix/lib/libclipstill-read.a" -llmdb -lzstd -ljansson -lcrypto -lm -pthread
succeed "and do not meet" ./names
cd - >/dev/null
sed -nE 's/^CLIPSTILL_API .*[ *](clipstill_[a-z_]+)\(.*/\1/p' "$root$prefix/include/clipstill.h" | sort >"$tmp/want"
nm -D --defined-only "$root$prefix/lib/libclipstill-read.so.0" | awk '{print $3}' | grep -v '^__' | sort >"$tmp/so"
nm -g --defined-only "$root$prefix/lib/libclipstill-read.a" | awk 'NF == 3 {print $3}' | grep -v '^__' | sort >"$tmp/a"
same "the shared library shows the header's names and no other" "$tmp/want" "$tmp/so"
[ -n "$san" ] || same "so does the static one" "$tmp/want" "$tmp/a"
holds "the soname is libclipstill-read.so.0" bash -c "readelf -d '$root$prefix/lib/libclipstill-read.so.0' | grep -q 'SONAME.*libclipstill-read.so.0'"

# --- what it reads is what export writes
small_corpus "$tmp/src"
succeed "ingest" clip ingest "$c" "$tmp/src/m.tsv" --classes "$tmp/src/classes.json"
succeed "featurize" clip featurize "$c" --teacher $teacher --taps image.final,text.final --views 2 --numerics f32
for how in shared static; do
    succeed "$how: the corpus" "$tmp/away/$how" "$c"
    stdout_has "$how: counts" "^10 images, 44 captions, 40 pairs$"
    result $(($(grep -c "^[0-9a-f]\{64\}.[0-9]\+.*m.tsv" "$tmp/out") != 40)) "$how: every pair has its picture and text"
    for set in image.final text.final; do
        for view in 0 1; do
            [ $set$view != text.final1 ] || continue
            succeed "$how: $set, view $view" "$tmp/away/$how" "$c" $set $view
            tail -n +2 "$tmp/out" | cut -d' ' -f1 | sort >"$tmp/keys"
            clip export "$c" --set $set --view $view --npy "$tmp/x" >/dev/null
            same "$how: the keys of $set, view $view" "$tmp/keys" "$tmp/x.keys.txt"
        done
    done
done
./clipstill export "$c" --set image.final --npy "$tmp/x" >/dev/null
"$tmp/away/shared" "$c" image.final | tail -n +2 | sort | cut -d' ' -f2- >"$tmp/lines"
# export writes norm * value, the sample both: multiplied by awk in double, then rounded to float, the same number
od -An -v -w$((4 * $(awk 'NR == 1 {print NF - 1}' "$tmp/lines"))) -tf4 -j128 "$tmp/x.npy" | tr -s ' ' | sed 's/^ //' >"$tmp/floats"
while read -r norm rest; do printf '%.17g ' $norm $rest; echo; done <"$tmp/lines" |
    paste -d' ' - "$tmp/floats" | awk '{n = (NF - 1) / 2; for (i = 1; i <= n; i++) {d = $1 * $(1 + i) - $(1 + n + i); if (d < 0) d = -d; if (d > 1e-6) bad++; count++}} END {print count, bad + 0}' >"$tmp/bad"
result $([ "$(cat "$tmp/bad")" = "$(($(wc -l <"$tmp/lines") * $(awk 'NR == 1 {print NF}' "$tmp/floats"))) 0" ]; echo $?) "the values of image.final are export's" "$(cat "$tmp/bad")"
run "$tmp/away/shared" "$c" nope; rc=$?
result $((rc != 1)) "an unknown set: exit code 1"
holds "and one sentence" grep -q 'has no feature set "nope"; it has: image.final, text.final$' "$tmp/err"

# --- and away again
succeed "make uninstall" make -s uninstall DESTDIR="$root" PREFIX=$prefix
holds "leaves no file" bash -c "! find '$root' -type f -o -type l | grep ."
finish
