# SPDX-License-Identifier: MIT
# A thin front for meson and ninja; what is built, and how, is said in meson.build alone.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
WERROR  ?= true
FAST    ?=
QUICK   ?=
T       ?=
V       ?=

ninja := ninja $(if $(V),-v,--quiet)
tests := python3 scripts/check.py --build $(BUILD) $(if $(V),--verbose) $(if $(T),--only '$(T)')

# Configures folder $1 with options $2; says nothing unless it fails.
configure = meson setup $2 $1 >$1.log 2>&1 || { cat $1.log; rm -f $1.log; exit 1; }; \
	mv $1.log $1/setup.log

.PHONY: all asan tsan clang check soak bench demo lint format install uninstall clean help

all: deps-build $(BUILD)/build.ninja
	@$(ninja) -C $(BUILD)

help:
	@echo 'make            build libvhu and vhu in $(BUILD)/ (CC=clang BUILD=dir: with another compiler)'
	@echo 'make check      all tests but the long ones. FAST=1: those without guests and foreign programs;'
	@echo '                T=name: only that one, or those with name in theirs; V=1: all output'
	@echo 'make soak       the long tests (hours); takes T= and V= too'
	@echo 'make bench      the comparisons with DPDK and OVS (half an hour). QUICK=1: some minutes; T=one-port: one of them'
	@echo 'make demo       two Linux guests on one switch, every message shown'
	@echo 'make lint       clang-format, clang-tidy, cppcheck, rooms. make format: rewrite the C files'
	@echo 'make install    PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); make uninstall takes the same two'
	@echo 'make asan, make tsan, make clang    the builds that make check makes for itself'
	@echo 'make clean      remove the build folders'

# Missing Debian packages are named and installed, or named and asked for; silent when there are none.
deps-%:
	@scripts/deps.sh $*

$(BUILD)/build.ninja:
	@$(call configure,$(BUILD),-Dwerror=$(WERROR) -Dprefix=$(PREFIX))

build-asan/build.ninja:
	@$(call configure,build-asan,-Db_sanitize=address$(comma)undefined -Db_lundef=false)

build-tsan/build.ninja:
	@$(call configure,build-tsan,-Db_sanitize=thread -Db_lundef=false)

build-clang/build.ninja: export CC = clang
build-clang/build.ninja:
	@$(call configure,build-clang,-Dwerror=$(WERROR))

comma := ,

asan: deps-build build-asan/build.ninja
	@$(ninja) -C build-asan

tsan: deps-build build-tsan/build.ninja
	@$(ninja) -C build-tsan tsan-tests

clang: deps-lint build-clang/build.ninja
	@$(ninja) -C build-clang

check: $(if $(FAST),deps-fast,deps-check)
	@$(tests) --tier $(if $(FAST),fast,check)

soak: deps-check
	@$(tests) --tier soak

bench: deps-bench all
	@VHU=$(abspath $(BUILD))/vhu VHU_BUILD=$(abspath $(BUILD)) python3 bench/run.py $(if $(QUICK),--quick) $(T)

demo: deps-demo all
	@VHU=$(abspath $(BUILD))/vhu python3 scripts/demo.py

lint: deps-lint build-clang/build.ninja
	@scripts/lint.sh all

format: deps-lint
	@scripts/lint.sh fix-format

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@$(ninja) -C $(BUILD) >$(BUILD)/setup.log || { cat $(BUILD)/setup.log; exit 1; }
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild --quiet

uninstall: all
	@python3 scripts/uninstall.py $(BUILD) '$(PREFIX)' '$(DESTDIR)'

clean:
	@rm -rf $(BUILD) build-asan build-tsan build-clang
