#!/bin/sh
# Makes a fresh Debian 12 able to build this project and to run its virtual machines. Needs root for what is missing;
# when everything is there it ends at once, without asking the network anything.
#
#   tests/vm/setup.sh            packages and the guest's kernel
#   tests/vm/setup.sh --check    say what is missing, change nothing; status 1 when something is
#
# QEMU comes from bookworm-backports: Debian 12's own 7.2 refuses vhost-user-gpu without KVM. The mirror is the one apt
# already uses, and it is named to apt for the length of this run only, in a temporary folder. The guest's kernel is
# unpacked into the cache (tests/vm/cache, or VHOST_SEAT_VM_CACHE) and never installed.
set -eu

suite=bookworm
backports=$suite-backports
here=$(cd "$(dirname "$0")" && pwd)
cache=${VHOST_SEAT_VM_CACHE:-$here/cache}

# What builds the project and the fuzzer's own part, what the laboratory calls, and what the benches compare with.
plain="gcc g++ libc6-dev libdrm-dev libvirglrenderer-dev libclang-dev make pkg-config ca-certificates dbus-daemon dbus-bin zstd
    xz-utils util-linux busybox-static"
# What renders, in software, on this machine; and what draws in a guest, which has this machine's root.
plain="$plain libvirglrenderer1 libegl1 libegl-mesa0 libopengl0 libgles2 libgbm1 libgl1-mesa-dri kmscube"
# qemu-system-gui has QEMU's own /usr/lib/qemu/vhost-user-gpu and the D-Bus display.
newer="qemu-system-x86 qemu-system-gui"
newer_min=1:9.0

check=no
[ "${1:-}" = --check ] && check=yes

say() { printf 'setup: %s\n' "$*" >&2; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

missing() {
    for p in $plain; do installed "$p" || printf ' %s' "$p"; done
    for p in $newer; do
        if ! installed "$p" || dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$p")" lt "$newer_min"; then
            printf ' %s' "$p"
        fi
    done
}

# The kernel is there when its stamp is: that is written last.
kernel_missing() { [ ! -e "$cache/kernel/complete" ]; }

need=$(missing)
if [ -z "$need" ] && ! kernel_missing; then
    say "all there"
    exit 0
fi
if [ "$check" = yes ]; then
    [ -z "$need" ] || say "missing packages:$need"
    if kernel_missing; then say "missing: the guest's kernel in the cache"; fi
    exit 1
fi
[ "$(id -u)" = 0 ] || { say "run me as root: apt has to fetch${need:- the kernel}"; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Runs apt quietly; when it fails its words are shown without the addresses in them.
quietly() {
    if ! "$@" >"$tmp/out" 2>&1; then
        say "that failed:"
        tail -n 15 "$tmp/out" | sed -E 's,[a-z+]+:/*[^ ]+,(mirror),g; s,([0-9a-zA-Z-]+\.)+[a-zA-Z]{2\,}(:[0-9]+)?,(host),g' >&2
        exit 1
    fi
}

# A private copy of apt's sources with the backports beside them; the package lists stay where they are.
mkdir "$tmp/sources.list.d"
[ ! -e /etc/apt/sources.list ] || cp /etc/apt/sources.list "$tmp/sources.list.d/main.list"
for f in /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$f" ] || cp "$f" "$tmp/sources.list.d/"
done
apt_opts="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$tmp/sources.list.d -o APT::Get::List-Cleanup=false
    -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o Dpkg::Lock::Timeout=300"
export DEBIAN_FRONTEND=noninteractive

uris() { apt-get indextargets --format "\$($2)" 'Created-By: Packages' "Codename: $1" 'Component: main' | sort -u | head -n 1; }

[ -n "$(uris $suite REPO_URI)" ] || quietly apt-get update
if [ -z "$(uris $backports REPO_URI)" ]; then
    mirror=$(uris $suite REPO_URI)
    [ -n "$mirror" ] || { say "apt knows no mirror for Debian's $suite: this script is for Debian 12"; exit 1; }
    printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$mirror" "$backports" >"$tmp/sources.list.d/backports.list"
fi
say "reading the package lists"
# shellcheck disable=SC2086 # the options are many words
quietly apt-get $apt_opts update

if [ -n "$need" ]; then
    say "installing:$need"
    for p in $plain; do installed "$p" || set -- "$@" "$p"; done
    if [ $# -gt 0 ]; then
        # shellcheck disable=SC2086
        quietly apt-get $apt_opts install -y --no-install-recommends "$@"
    fi
    # shellcheck disable=SC2086
    quietly apt-get $apt_opts install -y --no-install-recommends -t $backports $newer
fi

if kernel_missing; then
    # shellcheck disable=SC2086
    image=$(apt-cache $apt_opts depends linux-image-amd64/$backports | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$image" ] || { say "linux-image-amd64 of $backports names no kernel"; exit 1; }
    say "fetching $image (about 100 MB)"
    mkdir -p "$cache" "$tmp/deb"
    # shellcheck disable=SC2086
    (cd "$tmp/deb" && quietly apt-get $apt_opts download "$image/$backports")
    # Unpacked beside its place and moved there, so that a run cut short leaves nothing that looks whole.
    rm -rf "$cache/kernel.part" "$cache/kernel"
    dpkg -x "$tmp"/deb/linux-image-*.deb "$cache/kernel.part"
    rm -rf "$cache/kernel.part/usr/share"
    printf '%s\n' "$image" >"$cache/kernel.part/complete"
    mv "$cache/kernel.part" "$cache/kernel"
fi
say "done"
