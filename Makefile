# What one does with this project, each by one word. `make` alone says what there is.
#
# Where things go. QEMU's documents name three folders for the files that describe back ends; libvirt reads
# /usr/share/qemu/vhost-user and /etc/qemu/vhost-user, whatever the prefix. So:
#
#   PREFIX=/usr          (a package)      /usr/libexec/vhost-user-*          /usr/share/qemu/vhost-user/
#   PREFIX=/usr/local    (an admin)       /usr/local/libexec/vhost-user-*    /etc/qemu/vhost-user/
#
# vhost-user-gpu keeps that name: AppArmor's profile of libvirt lets it run /usr/lib, /usr/lib64, /usr/lib/qemu and
# /usr/libexec + /vhost-user-gpu and no other. On Debian QEMU's own program is /usr/lib/qemu/vhost-user-gpu, so
# /usr/libexec is free; where a distribution has QEMU's there (Fedora), say LIBEXECDIR=/usr/lib. A program of one of the
# names that is not ours is never overwritten, and then nothing is installed. libvirt does not start vhost-user-input.
#
# Files are taken in the order of their names, so QEMU's 50-qemu-gpu.json comes before our 50-vhost-seat-gpu.json.
# PRIORITY=40 puts ours first; an empty /etc/qemu/vhost-user/50-qemu-gpu.json hides QEMU's.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=
LIBEXECDIR ?= $(PREFIX)/libexec
ifeq ($(PREFIX),/usr)
JSONDIR    ?= $(PREFIX)/share/qemu/vhost-user
else
JSONDIR    ?= $(SYSCONFDIR)/qemu/vhost-user
endif
PRIORITY   ?= 50

CARGO   ?= cargo
INSTALL ?= install
# The folder of what is installed; built first if it is not there.
BUILT   ?= $(or $(CARGO_TARGET_DIR),target)/release
# Where `make demo` leaves its pictures.
PICTURES ?= $(or $(CARGO_TARGET_DIR),target)/demo

# Each device has a program vhost-user-DEVICE and a file that describes it.
DEVICES    = gpu input
BINARIES   = $(DEVICES:%=$(BUILT)/vhost-user-%)
INSTALLS   = $(DEVICES:%=install-%)
UNINSTALLS = $(DEVICES:%=uninstall-%)

.PHONY: help build test test-asan lint format-check deps bench bench-vm demo demo-3d fuzz fuzz-smoke fuzz-coverage fuzz-tools ours install uninstall $(INSTALLS) $(UNINSTALLS)
.SUFFIXES:

help:
	@echo 'make build      the programs, optimised, in target/release'
	@echo 'make test       set up what the tests need, then format, lints, all tests, and a moment of fuzzing'
	@echo 'make test-asan  the tests that need no machine, with AddressSanitizer (20 minutes)'
	@echo 'make demo       boot a small guest on our screen and take a picture of it'
	@echo 'make demo-3d    the same with 3D: a cube that the guest draws by our renderer'
	@echo 'make bench      measure beside the floor, and beside QEMU'"'"'s own program'
	@echo 'make bench-vm   measure what a guest gets under a real QEMU'
	@echo 'make install    PREFIX=/usr/local, DESTDIR, LIBEXECDIR, JSONDIR, PRIORITY; see the top of Makefile'
	@echo 'make uninstall  with the same variables'
	@echo 'make fuzz       TARGET=control (or session, chain, command, display, input, stream) TIME=900, in seconds; see fuzz/README.md'
	@echo 'make fuzz-smoke each of FUZZ_TARGETS (all) for FUZZ_SECONDS=60; make fuzz-coverage: what the corpus reaches of the parsers'
	@echo 'make deps       only set up (needs root if something is missing); make lint: only format and lints'

build:
	$(CARGO) build --locked --release --bins

# Cheap things first: what fails in a second should not take minutes.
test: format-check
	$(MAKE) deps
	$(MAKE) lint
	$(CARGO) test --locked --workspace
	VHOST_SEAT_ARGUMENTS='--virgl --max-hostmem=256M' $(CARGO) test --locked --test hostile_guest --test hostile_frontend
	$(MAKE) fuzz-smoke FUZZ_TARGETS='control session' FUZZ_SECONDS=10

# AddressSanitizer on stable: RUSTC_BOOTSTRAP lets it take the option; --cfg asan is for the tests, which run the programs
# with --no-sandbox and leave out what can't be so under it (they say what). Left out here:
#   evdev, vm, gpu's udmabuf, program's in_guest   run in a guest, which has no place for a build of another kind
#   sandbox, program's sandbox                     the sanitizer's own system calls end a process that has given all others up
# SIGBUS is the program's own; too much memory is refused as ever, not reported; what a process still has at its end is.
ASAN_TARGET  ?= $(shell rustc -vV | sed -n 's/^host: //p')
ASAN_TESTS    = exhaustive fuzz_replay gpu hostile_frontend hostile_guest input model no_alloc program second_opinion
ASAN_OPTIONS  = handle_sigbus=0:allocator_may_return_null=1:detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1

test-asan:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address --cfg asan' ASAN_OPTIONS='$(ASAN_OPTIONS)' \
	  $(CARGO) test --locked --target $(ASAN_TARGET) --target-dir $(or $(CARGO_TARGET_DIR),target)/asan \
	  --no-fail-fast --lib $(ASAN_TESTS:%=--test %) -- --skip in_guest --skip udmabuf:: --skip sandbox::

format-check:
	@$(CARGO) fmt --version >/dev/null 2>&1 || { echo 'rustfmt is missing: rustup component add rustfmt' >&2; exit 1; }
	$(CARGO) fmt --all --check

lint: format-check
	@$(CARGO) clippy --version >/dev/null 2>&1 || { echo 'clippy is missing: rustup component add clippy' >&2; exit 1; }
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deps:
	tests/vm/setup.sh

bench: build
	$(CARGO) bench --locked --bench '*'

bench-vm: deps build
	$(CARGO) run --locked --release --package seat-vm --example frames -- '$(BUILT)/vhost-user-gpu'

demo: deps build
	$(CARGO) run --locked --release --package seat-vm --example demo -- '$(BUILT)/vhost-user-gpu' '$(PICTURES)'

demo-3d: deps build
	$(CARGO) run --locked --release --package seat-vm --example demo_3d -- '$(BUILT)/vhost-user-gpu' '$(PICTURES)'

# AddressSanitizer and libFuzzer on stable: RUSTC_BOOTSTRAP lets it take -Z options. With a nightly,
# `cargo +nightly fuzz run TARGET` does the same.
FUZZ_TARGETS = control session chain command display input stream
FUZZ_SECONDS ?= 60
TARGET       ?= session
TIME         ?= 900
FUZZ          = cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz
FUZZ_OPTIONS  = -dict=dict -max_len=4096 -len_control=20 -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=32 -print_final_stats=1

fuzz-tools:
	@command -v c++ >/dev/null || { echo 'a C++ compiler is missing (Debian: apt install g++): libFuzzer is built with it' >&2; exit 1; }
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz

fuzz: fuzz-tools
	@mkdir -p 'fuzz/corpus/$(TARGET)'
	$(FUZZ) run $(TARGET) corpus/$(TARGET) seeds/$(TARGET) -- $(FUZZ_OPTIONS) -max_total_time=$(TIME)

# Each is built by its first run.
fuzz-smoke: fuzz-tools
	@for target in $(FUZZ_TARGETS); do $(MAKE) fuzz TARGET=$$target TIME=$(FUZZ_SECONDS) || exit 1; done

# Seeds and corpus once more on a build that counts lines, without a sanitizer.
fuzz-coverage:
	fuzz/coverage.sh

$(BINARIES):
	$(MAKE) build

# The text is in every build of ours (--version prints it), and in no other program of these names.
ours:
	@for device in $(DEVICES); do program='$(DESTDIR)$(LIBEXECDIR)'/vhost-user-$$device; \
	  if [ -e "$$program" ] && ! grep -q 'vhost-seat' "$$program"; then \
	    echo "$$program is another program: left as it is, and nothing was done; choose another LIBEXECDIR" >&2; exit 1; \
	  fi; done

# All have to be there and all places free before the first is put into its place.
$(INSTALLS): install-%: ours $(BINARIES)
	$(INSTALL) -d '$(DESTDIR)$(LIBEXECDIR)' '$(DESTDIR)$(JSONDIR)'
	$(INSTALL) -m 755 '$(BUILT)/vhost-user-$*' '$(DESTDIR)$(LIBEXECDIR)/vhost-user-$*'
	sed 's|@BINARY@|$(LIBEXECDIR)/vhost-user-$*|' 50-vhost-seat-$*.json.in > '$(DESTDIR)$(JSONDIR)/$(PRIORITY)-vhost-seat-$*.json'
	chmod 644 '$(DESTDIR)$(JSONDIR)/$(PRIORITY)-vhost-seat-$*.json'

install: $(INSTALLS)
	@case '$(LIBEXECDIR)' in /usr/lib|/usr/lib64|/usr/lib/qemu|/usr/libexec) ;; *) \
	  if [ -z '$(DESTDIR)' ] && [ -e /etc/apparmor.d/usr.sbin.libvirtd ]; then \
	    echo 'AppArmor keeps libvirt from running $(LIBEXECDIR)/vhost-user-gpu. Either install with PREFIX=/usr, or put the line'; \
	    echo '  $(LIBEXECDIR)/vhost-user-gpu PUx,'; \
	    echo 'into /etc/apparmor.d/local/usr.sbin.libvirtd (and usr.sbin.virtqemud) and load the profile again.'; \
	  fi ;; esac

$(UNINSTALLS): uninstall-%: ours
	rm -f '$(DESTDIR)$(LIBEXECDIR)/vhost-user-$*' '$(DESTDIR)$(JSONDIR)/$(PRIORITY)-vhost-seat-$*.json'

uninstall: $(UNINSTALLS)
