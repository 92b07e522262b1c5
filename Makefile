# SPDX-License-Identifier: LGPL-2.1-or-later
# A thin front of meson and ninja: programs land in build/bin/. See CONTRIBUTING.md.

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# Distributions' own meson, ninja and python3 first: others in the PATH may lack what the system's have.
MESON := $(firstword $(wildcard /usr/bin/meson) meson)
NINJA := $(firstword $(wildcard /usr/bin/ninja) ninja)
PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
# Warnings are errors in CI only.
SETUP_FLAGS := $(if $(CI),-Dwerror=true) $(MESON_FLAGS)
VERSION = $(shell sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
FUZZ_SECONDS ?= 60
ROUNDS ?= 10

.PHONY: all programs test chaos check demo bench fuzz install dist clean format help

all: build/build.ninja
	@$(NINJA) -C build

programs: build/build.ninja
	@$(NINJA) -C build bin/drover bin/droverd bin/drover-lab bin/hsm-action-shipper bin/hsm-action-top bin/hsm-stream-tail bin/hsm-stream-stats

build/build.ninja:
	@$(MESON) setup build --prefix=$(PREFIX) --sysconfdir=$(SYSCONFDIR) $(SETUP_FLAGS)

demo: programs
	@scripts/demo build/bin

test: all
	@$(PYTHON) scripts/run-tests build

chaos: programs
	@$(PYTHON) tests/chaos/run --build build/bin --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

check: all
	@scripts/check

bench: programs
	@$(NINJA) -C build bench/bare
	@$(PYTHON) bench/run.py build
	@$(PYTHON) bench/failover.py build
	@$(PYTHON) bench/hsm.py build
	@$(PYTHON) bench/clone.py build

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz

install: build/build.ninja
	@$(MESON) configure build --prefix=$(abspath $(PREFIX)) --sysconfdir=$(SYSCONFDIR)
	@$(NINJA) -C build
	@DESTDIR=$(abspath $(DESTDIR)) $(MESON) install -C build --no-rebuild

dist:
	@scripts/dist $(VERSION)

clean:
	rm -rf build build-asan build-tsan build-clang build-gcc build-fuzz dist

format:
	find src tests bench -name '*.[ch]' -exec clang-format -i {} +

help:
	@echo 'make            build/bin/drover, droverd, drover-lab, hsm-*'
	@echo 'make test       all tests; the last line counts them'
	@echo 'make chaos      ROUNDS=$(ROUNDS) of hosts that die, stop, and are cut off; SEED= repeats one'
	@echo 'make check      sanitizers, lint, layers, a little fuzzing'
	@echo 'make demo       empties two OSTs of a lab and proves that nothing is lost'
	@echo 'make bench      how fast it is, in ratios'
	@echo 'make fuzz       FUZZ_SECONDS=$(FUZZ_SECONDS) for each target'
	@echo 'make install    DESTDIR= PREFIX=$(PREFIX)'
	@echo 'make dist       dist/drover-$(VERSION).tar.gz'
	@echo 'make format     clang-format over all C files'
	@echo 'make clean'
