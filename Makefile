# clipstill: one Makefile, no recursion. `make help` lists the targets. Knobs:
CC      ?= gcc
CXX     ?= g++
SAN     ?=            # SAN=address,undefined for a sanitizer build
WERROR  ?= yes
PREFIX  ?= /usr/local
DESTDIR ?=
DEPS    ?= yes        # DEPS=no: never install packages
O       ?= -O3
MPI     ?= no         # MPI=1: mpirun -n N clipstill featurize
FUZZ_S  ?= 120        # seconds of make fuzz-NAME

.DEFAULT_GOAL := clipstill
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
# clang brings no OpenMP of its own: its headers and runtime are a package more
ifneq ($(findstring clang,$(CC)),)
compiler_packages := clang libomp-dev
ifneq ($(shell echo '#include <omp.h>' | $(CC) -fopenmp -x c -E - >/dev/null 2>&1 && echo found),found)
ifeq ($(filter deps test demo bench clean help,$(MAKECMDGOALS)),)
$(error $(CC) finds no OpenMP: apt-get install clang libomp-dev, or make CC=$(CC) deps)
endif
endif
endif
mpi     := $(filter-out no 0,$(strip $(MPI)))
compiler_packages += $(if $(mpi),libopenmpi-dev openmpi-bin)
san     := $(strip $(SAN))
warn    := -Wall -Wextra -Wshadow -Wvla -Wpointer-arith $(if $(filter yes,$(strip $(WERROR))),-Werror)
# no contraction to fused multiply-add behind our back: a sum is the same whatever -march and compiler
common  := $(O) -g -fno-math-errno -fno-trapping-math -ffp-contract=off -fopenmp -I. $(warn) $(if $(san),-fsanitize=$(san) -fno-omit-frame-pointer)
CFLAGS_ALL   := -std=c11 -D_GNU_SOURCE $(common) -Wstrict-prototypes -Wmissing-prototypes $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(common) $(CXXFLAGS)
LDLIBS  := -llmdb -lzstd -ljpeg -lwebp -lwebpdemux -licuuc -licui18n -licudata -ljansson -lcrypto \
           -larchive -lz -lxml2 -lcld2 -ldnnl -lsentencepiece_train -lsentencepiece -lstdc++ -lm
build   := build/$(shell echo '$(CC) $(CXX) $(CFLAGS_ALL) $(CXXFLAGS_ALL)' | sha256sum | cut -c1-12)

rooms   := store ingest featurize train
# cli/ but for main stands in the library too, so that its parts can be tested
lib_src := $(wildcard $(rooms:%=%/*.c)) $(wildcard $(rooms:%=%/*.cc)) $(filter-out cli/main.c,$(wildcard cli/*.c))
cli_src := cli/main.c
test_src := $(wildcard tests/test_*.c)
lib_obj := $(patsubst %,$(build)/%.o,$(lib_src))
cli_obj := $(patsubst %,$(build)/%.o,$(cli_src))
test_bin := $(patsubst tests/%.c,$(build)/tests/%,$(test_src))
lib     := $(build)/libclipstill.a
# every fuzz target is replayed over its seeds in the plain tests; under libFuzzer it runs by itself (see README)
fuzz_bin := $(patsubst tests/%.c,$(build)/tests/%,$(wildcard tests/fuzz_*.c))
fuzz_runs := $(foreach f,$(sort $(fuzz_bin)),"$f tests/seeds/$(patsubst fuzz_%,%,$(notdir $f))")
bench_bin := $(patsubst tests/%.c,$(build)/tests/%,$(wildcard tests/bench_*.c))
jobs    := $(shell nproc)

# the reader library: store/ again, position-independent, with nothing visible but the names of store/clipstill.h
version := $(shell sed -nE 's/.*CLIPSTILL_VERSION "(.*)".*/\1/p' cli/command.h)
read    := $(build)/read
read_so := libclipstill-read.so
read_abi := 0
read_obj := $(patsubst %.c,$(read)/%.c.o,$(wildcard store/*.c))
open    := (
read_names := $(shell sed -nE 's/^CLIPSTILL_API .*[ *](clipstill_[a-z_]+)[$(open)].*/\1/p' store/clipstill.h)
read_libs := -llmdb -lzstd -ljansson -lcrypto -lm -pthread
readers := $(read)/$(read_so).$(read_abi) $(read)/libclipstill-read.a $(read)/clipstill.pc

# V=1 shows whole commands
Q       := $(if $(V),,@)
say      = $(if $(V),,@echo "  $(1) $(2)")

$(build)/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(build)/%.cc.o: %.cc
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@

$(build)/ingest/entity.c.o: CFLAGS_ALL += -I/usr/include/libxml2

$(lib): $(lib_obj)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(build)/tests/%: $(build)/tests/%.c.o $(lib)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $< $(lib) $(LDLIBS) -o $@

$(build)/tests/fuzz_%: $(build)/tests/fuzz_%.c.o $(build)/tests/replay.c.o $(lib)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $< $(build)/tests/replay.c.o $(lib) $(LDLIBS) -o $@

$(build)/fuzz/%: $(build)/tests/fuzz_%.c.o $(lib)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer $< $(lib) $(LDLIBS) -o $@

$(build)/clipstill: $(cli_obj) $(lib)
	$(call say,LINK,clipstill)
	$(Q)$(CC) $(CFLAGS_ALL) $(cli_obj) $(lib) $(LDLIBS) -o $@

# one file differs, and it comes before the library's own
$(build)/cli/rank.mpi.o: cli/rank.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -DCLIPSTILL_MPI $(patsubst -I%,-isystem %,$(shell pkg-config --cflags mpi-c)) -MMD -MP -c $< -o $@

$(build)/clipstill-mpi: $(cli_obj) $(build)/cli/rank.mpi.o $(lib)
	$(call say,LINK,clipstill with MPI)
	$(Q)$(CC) $(CFLAGS_ALL) $^ $(LDLIBS) $(shell pkg-config --libs mpi-c) -o $@

build/clipstill-mpi: $(build)/clipstill-mpi
	@cp -f $< $@

$(read)/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -ffunction-sections -MMD -MP -c $< -o $@

# hidden visibility alone does not hide what target_clones makes: the names are listed
$(read)/names.map: store/clipstill.h
	@mkdir -p $(@D)
	@printf '{ global:%s local: *; };\n' '$(read_names:%= %;)' >$@
	@printf '%s\n' $(read_names) >$(read)/names

$(read)/$(read_so).$(read_abi): $(read_obj) $(read)/names.map
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -fno-openmp -shared -Wl,-soname,$(@F) -Wl,--version-script=$(read)/names.map -Wl,--gc-sections -Wl,--as-needed $(if $(san),,-Wl,-z,defs) $(read_obj) $(read_libs) -o $@

# one object in which all but the public names are local, so that a program may have a codec_init of its own
$(read)/libclipstill-read.a: $(read_obj) $(read)/names.map
	$(call say,AR,$@)
	$(Q)$(CC) -r -nostdlib -Wl,--gc-sections $(read_names:%=-Wl,-u,%) $(read_obj) -o $(read)/clipstill-read.o
	$(Q)objcopy --keep-global-symbols=$(read)/names --strip-unneeded $(read)/clipstill-read.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(read)/clipstill-read.o

# PREFIX is no part of the build's name: made anew each time
.PHONY: $(read)/clipstill.pc
$(read)/clipstill.pc:
	@mkdir -p $(@D)
	@printf 'prefix=%s\nlibdir=$${prefix}/lib\nincludedir=$${prefix}/include\n\nName: clipstill\nDescription: reads clipstill feature caches\nVersion: %s\nLibs: -L$${libdir} -lclipstill-read\nLibs.private: %s\nCflags: -I$${includedir}\n' \
	    '$(PREFIX)' '$(version)' '$(read_libs)' >$@

.PRECIOUS: $(build)/%.c.o $(build)/tests/test_% $(build)/fuzz/%
-include $(shell find $(build) -name '*.d' 2>/dev/null)

.PHONY: clipstill lib deps sample-corpus sample-teacher demo test test-long bench install install-reader uninstall format readme clean help
clipstill: $(build)/clipstill$(if $(mpi),-mpi) ## build ./clipstill
	@cp -f $< $@.tmp-make && mv -f $@.tmp-make $@

lib: $(lib) ## build the library only

deps: ## install missing Debian packages (DEPS=no: skip)
	@$(if $(filter no,$(strip $(DEPS))),true,.ci/deps $(compiler_packages))

# demo and test build in a second make, after the packages are there
demo: deps ## the main job on the sample corpus, in under four minutes
	@$(MAKE) --no-print-directory -j$(jobs) clipstill
	@samples/demo.sh ./clipstill

test: deps ## build and run all tests
	@$(MAKE) --no-print-directory -j$(jobs) run-tests

run-tests: clipstill $(test_bin) $(fuzz_bin) $(readers)
	@tests/run.sh $(if $(san),1200,240) $(sort $(test_bin)) $(fuzz_runs) "bash tests/layers.sh --self-test" tests/format.sh $(wildcard tests/cli_*.sh)

test-long: deps ## soaks: kill -9 at random (KILLS=200), full disks, power losses, a million records, a full AltCLIP
	@$(MAKE) --no-print-directory -j$(jobs) clipstill build/make_altclip
	@tests/run.sh 1800 $(wildcard tests/long_*.sh)

# a random AltCLIP of full size for tests and benchmarks: build/make_altclip OUT
build/make_altclip: $(build)/tests/make_altclip
	@cp -f $< $@

corpus_obj := $(patsubst %,$(build)/samples/%.c.o,make_corpus cldr scene imagefile)
$(build)/samples/scene.c.o: CFLAGS_ALL += -I/usr/include/freetype2

$(build)/samples/make_corpus: $(corpus_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ $(LDLIBS) -lfreetype -o $@

$(build)/samples/tiny_teacher: $(build)/samples/tiny_teacher.c.o $(lib)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $< $(lib) $(LDLIBS) -o $@

sample-teacher: clipstill $(build)/samples/tiny_teacher ## train samples/teacher again (minutes)
	samples/train_tiny_teacher.sh ./clipstill $(build)/samples/tiny_teacher

sample-corpus: $(build)/samples/make_corpus ## make samples/corpus again (needs libspng-dev, libfreetype-dev, fonts-noto-color-emoji, unicode-cldr-core)
	rm -rf samples/corpus/images samples/corpus/broken
	$< samples/corpus

bench: deps ## speed and memory, ratios against peers and the machine
	@$(MAKE) --no-print-directory -j$(jobs) run-bench

run-bench: clipstill $(bench_bin)
	@for b in $(bench_bin); do $$b || exit 1; done

fuzz-%: ## run tests/fuzz_% under libFuzzer for FUZZ_S seconds (clang); finds lie in build/fuzz/%
	@$(MAKE) --no-print-directory CC=clang CXX=clang++ O=-O1 SAN=fuzzer-no-link,address,undefined \
	    CFLAGS=-fno-sanitize-recover=undefined CXXFLAGS=-fno-sanitize=vptr FUZZ_S=$(FUZZ_S) run-fuzz-$*

run-fuzz-%: $(build)/fuzz/%
	@mkdir -p build/fuzz/$*
	$< -max_total_time=$(FUZZ_S) -max_len=20000 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/$*- build/fuzz/$* tests/seeds/$*

t-%: $(build)/tests/test_% ## build and run one unit test: make t-codec
	$<

doc     := $(DESTDIR)$(PREFIX)/share/doc/clipstill
install: clipstill install-reader ## install into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 clipstill $(DESTDIR)$(PREFIX)/bin/clipstill
	./clipstill help --man > $(build)/clipstill.1
	install -m 644 $(build)/clipstill.1 $(DESTDIR)$(PREFIX)/share/man/man1/clipstill.1
	install -m 644 README.md LICENSE $(doc)

install-reader: $(readers) ## the reader library alone: clipstill.h, libclipstill-read, clipstill.pc
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig $(doc)
	install -m 644 store/clipstill.h $(DESTDIR)$(PREFIX)/include/clipstill.h
	install -m 644 $(read)/libclipstill-read.a $(DESTDIR)$(PREFIX)/lib/libclipstill-read.a
	install -m 755 $(read)/$(read_so).$(read_abi) $(DESTDIR)$(PREFIX)/lib/$(read_so).$(read_abi)
	ln -sf $(read_so).$(read_abi) $(DESTDIR)$(PREFIX)/lib/$(read_so)
	install -m 644 $(read)/clipstill.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/clipstill.pc
	install -m 644 store/FORMAT.md samples/read_features.c samples/read_features.py $(doc)
	@[ -n "$(DESTDIR)" ] || ldconfig 2>/dev/null || true

uninstall: ## take away what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/clipstill $(DESTDIR)$(PREFIX)/share/man/man1/clipstill.1
	rm -f $(DESTDIR)$(PREFIX)/include/clipstill.h $(DESTDIR)$(PREFIX)/lib/libclipstill-read.a $(DESTDIR)$(PREFIX)/lib/$(read_so) $(DESTDIR)$(PREFIX)/lib/$(read_so).$(read_abi) $(DESTDIR)$(PREFIX)/lib/pkgconfig/clipstill.pc
	rm -rf $(doc)

format: ## clang-format the C files
	clang-format -i $(rooms:%=%/*.c) cli/*.c tests/*.c samples/*.c

clean: ## remove what was built
	rm -rf build clipstill

help: ## this list
	@sed -nE 's/^([a-z%-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

readme: clipstill ## put the option tables into README.md
	@./clipstill help --markdown > $(build)/reference.md
	@sed -i -e '/<!-- reference: begin -->/r $(build)/reference.md' -e '/<!-- reference: begin -->/,/<!-- reference: end -->/{/<!-- reference:/!d}' README.md
