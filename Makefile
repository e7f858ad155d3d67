# What one does with this project, each by one word. `make` alone says what there is.
#
# Where things go. QEMU's documents name three folders for the files that describe back ends; libvirt reads
# /usr/share/qemu/vhost-user and /etc/qemu/vhost-user, whatever the prefix. So:
#
#   PREFIX=/usr          (a package)      /usr/libexec/vhost-user-gpu          /usr/share/qemu/vhost-user/
#   PREFIX=/usr/local    (an admin)       /usr/local/libexec/vhost-user-gpu    /etc/qemu/vhost-user/
#
# The program keeps the name vhost-user-gpu: AppArmor's profile of libvirt lets it run /usr/lib, /usr/lib64, /usr/lib/qemu
# and /usr/libexec + /vhost-user-gpu and no other. On Debian QEMU's own program is /usr/lib/qemu/vhost-user-gpu, so
# /usr/libexec is free; where a distribution has QEMU's there (Fedora), say LIBEXECDIR=/usr/lib. A program of that name
# that is not ours is never overwritten.
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
# What is installed; built first if it is not there.
BINARY  ?= $(or $(CARGO_TARGET_DIR),target)/release/vhost-user-gpu
# Where `make demo` leaves its pictures.
PICTURES ?= $(or $(CARGO_TARGET_DIR),target)/demo

PROGRAM  = $(LIBEXECDIR)/vhost-user-gpu
JSON     = $(JSONDIR)/$(PRIORITY)-vhost-seat-gpu.json

.PHONY: help build test lint format-check deps bench bench-vm demo install uninstall
.SUFFIXES:

help:
	@echo 'make build      the program, optimised, in target/release'
	@echo 'make test       set up what the tests need, then format, lints and all tests'
	@echo 'make demo       boot a small guest on our screen and take a picture of it'
	@echo 'make bench      measure beside the floor, and beside QEMU'"'"'s own program'
	@echo 'make bench-vm   measure what a guest gets under a real QEMU'
	@echo 'make install    PREFIX=/usr/local, DESTDIR, LIBEXECDIR, JSONDIR, PRIORITY; see the top of Makefile'
	@echo 'make uninstall  with the same variables'
	@echo 'make deps       only set up (needs root if something is missing); make lint: only format and lints'

build:
	$(CARGO) build --locked --release --bins

# Cheap things first: what fails in a second should not take minutes.
test: format-check
	$(MAKE) deps
	$(MAKE) lint
	$(CARGO) test --locked --workspace

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
	$(CARGO) run --locked --release --package seat-vm --example frames -- '$(BINARY)'

demo: deps build
	$(CARGO) run --locked --release --package seat-vm --example demo -- '$(BINARY)' '$(PICTURES)'

$(BINARY):
	$(MAKE) build

# The text is in every build of ours (--version prints it), and in no other program of the name.
foreign = [ -e '$(DESTDIR)$(PROGRAM)' ] && ! grep -q 'vhost-seat' '$(DESTDIR)$(PROGRAM)'

install: $(BINARY)
	@if $(foreign); then echo '$(DESTDIR)$(PROGRAM) is another program: choose another LIBEXECDIR' >&2; exit 1; fi
	$(INSTALL) -d '$(DESTDIR)$(LIBEXECDIR)' '$(DESTDIR)$(JSONDIR)'
	$(INSTALL) -m 755 '$(BINARY)' '$(DESTDIR)$(PROGRAM)'
	sed 's|@BINARY@|$(PROGRAM)|' 50-vhost-seat-gpu.json.in > '$(DESTDIR)$(JSON)'
	chmod 644 '$(DESTDIR)$(JSON)'
	@case '$(LIBEXECDIR)' in /usr/lib|/usr/lib64|/usr/lib/qemu|/usr/libexec) ;; *) \
	  if [ -z '$(DESTDIR)' ] && [ -e /etc/apparmor.d/usr.sbin.libvirtd ]; then \
	    echo 'AppArmor keeps libvirt from running $(PROGRAM). Either install with PREFIX=/usr, or put the line'; \
	    echo '  $(PROGRAM) PUx,'; \
	    echo 'into /etc/apparmor.d/local/usr.sbin.libvirtd (and usr.sbin.virtqemud) and load the profile again.'; \
	  fi ;; esac

uninstall:
	@if $(foreign); then echo '$(DESTDIR)$(PROGRAM) is another program: left there' >&2; exit 1; fi
	rm -f '$(DESTDIR)$(PROGRAM)' '$(DESTDIR)$(JSON)'
