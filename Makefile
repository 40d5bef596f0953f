# clipstill: one Makefile, no recursion. Knobs:
CC      ?= gcc
CXX     ?= g++
SAN     ?=            # SAN=address,undefined for a sanitizer build
WERROR  ?= yes
PREFIX  ?= /usr/local
DESTDIR ?=
DEPS    ?= yes        # DEPS=no: never install packages
O       ?= -O3

.DEFAULT_GOAL := clipstill
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
san     := $(strip $(SAN))
warn    := -Wall -Wextra -Wshadow -Wvla -Wpointer-arith $(if $(filter yes,$(strip $(WERROR))),-Werror)
common  := $(O) -g -fno-math-errno -fno-trapping-math -fopenmp -I. $(warn) $(if $(san),-fsanitize=$(san) -fno-omit-frame-pointer)
CFLAGS_ALL   := -std=c11 -D_GNU_SOURCE $(common) -Wstrict-prototypes -Wmissing-prototypes $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(common) $(CXXFLAGS)
LDLIBS  := -llmdb -lzstd -ljpeg -lwebp -lwebpdemux -lspng -licuuc -licui18n -licudata -larchive -ljansson -lcrypto \
           -ldnnl -lsentencepiece -lstdc++ -lm
build   := build/$(shell echo '$(CC) $(CXX) $(CFLAGS_ALL) $(CXXFLAGS_ALL)' | sha256sum | cut -c1-12)

rooms   := store ingest featurize train
lib_src := $(wildcard $(rooms:%=%/*.c)) $(wildcard $(rooms:%=%/*.cc))
cli_src := $(wildcard cli/*.c)
test_src := $(wildcard tests/test_*.c)
lib_obj := $(patsubst %,$(build)/%.o,$(lib_src))
cli_obj := $(patsubst %,$(build)/%.o,$(cli_src))
test_bin := $(patsubst tests/%.c,$(build)/tests/%,$(test_src))
lib     := $(build)/libclipstill.a

$(build)/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(build)/%.cc.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@

$(lib): $(lib_obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(build)/tests/%: $(build)/tests/%.c.o $(lib)
	$(CC) $(CFLAGS_ALL) $< $(lib) $(LDLIBS) -o $@

$(build)/clipstill: $(cli_obj) $(lib)
	$(CC) $(CFLAGS_ALL) $(cli_obj) $(lib) $(LDLIBS) -o $@

.PRECIOUS: $(build)/%.c.o
-include $(shell find $(build) -name '*.d' 2>/dev/null)

clipstill: $(build)/clipstill ## build ./clipstill
	@cp -f $< $@

.PHONY: lib clipstill t-%
lib: $(lib) ## build the library only

t-%: $(build)/tests/test_% ## build and run one unit test: make t-codec
	$<
