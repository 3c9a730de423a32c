#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that one group of make targets needs; it knows nothing of how they are used.
#
# usage: scripts/deps.sh build|fast|check|bench|demo|lint [--list]
# Silent when nothing is missing. VHU_SKIP_DEPS=1 switches it off (another distribution, say).
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config python3 libcmocka-dev libjansson-dev
libseccomp-dev libsystemd-dev systemtap-sdt-dev"
# The guests: a virtual machine monitor, and what their initramfs is made of.
guest="qemu-system-x86 busybox-static cpio ethtool iperf3 iproute2"
# Guests that are processes, whose notifications are messages.
uml="user-mode-linux"
# Backends that are not ours: dpdk-testpmd, OVS with its userspace datapath, qemu-storage-daemon.
backends="dpdk-dev openvswitch-switch-dpdk qemu-system-common"
# The comparisons of bench/: what is linked with DPDK, and what counts instructions.
bench="libdpdk-dev valgrind"
format="clang-format"

case "${1:-}" in
build) list="$build" ;;
fast) list="$build $format" ;;
check) list="$build $format $guest $uml $backends $bench clang libclang-rt-14-dev clang-tidy
	cppcheck acpica-tools iputils-ping lz4 procps spin tcpdump tshark util-linux" ;;
bench) list="$build $backends $bench iproute2 util-linux" ;;
demo) list="$build $guest" ;;
lint) list="$build $format clang clang-tidy cppcheck" ;;
*)
	echo "usage: $0 build|fast|check|bench|demo|lint [--list]" >&2
	exit 2
	;;
esac

if [ "${2:-}" = --list ]; then
	# shellcheck disable=SC2086 # one word a package
	printf '%s\n' $list
	exit 0
fi
[ "${VHU_SKIP_DEPS:-0}" = 0 ] || exit 0

if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "vhu: this is no Debian system (no dpkg-query). Install what these Debian packages hold," >&2
	# shellcheck disable=SC2086 # one word a package
	echo "then run make again with VHU_SKIP_DEPS=1:" $list >&2
	exit 1
fi

# One call for all: it names the known ones with their state, and is silent here about the rest.
# shellcheck disable=SC2086,SC2016 # one word a package; the dollars are dpkg-query's
have=" $(dpkg-query -W -f '${Package}=${db:Status-Status} ' $list 2>/dev/null || :)"
missing=
for pkg in $list; do
	case "$have" in
	*" $pkg=installed "*) ;;
	*) missing="$missing $pkg" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "vhu: missing Debian packages. As root, run:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "vhu: installing Debian packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install()
{
	# Some packages ask questions (tshark, iperf3): none may wait for an answer.
	# shellcheck disable=SC2086 # one word a package
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=600 \
		install --no-install-recommends $missing </dev/null >"$log" 2>&1
}

# The package lists of a new machine are empty or old: fetch them only if it does not go without.
if ! install; then
	apt-get -qq update </dev/null >"$log" 2>&1 || :
	if ! install; then
		cat "$log" >&2
		echo "vhu: apt-get could not install:$missing" >&2
		exit 1
	fi
fi
