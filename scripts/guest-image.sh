#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the kernel and the initramfs of the test guests, and prints their two paths; it must not
# know what the tests do inside a guest.
#
#   guest-image.sh            prints "KERNEL<newline>INITRD"
#   KERNEL=/boot/vmlinuz-...  takes that kernel; modules from /lib/modules of the same release,
#                             or none when the kernel has virtio built in
#
# The kernel comes out of Debian's cloud kernel package, which is downloaded and unpacked, not
# installed. Everything is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/vhu/ and made once; calls at
# the same time wait for each other.
set -euo pipefail
umask 022

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/vhu"
SELF=$(readlink -f "$0")

die() { echo "guest-image.sh: $*" >&2; exit 1; }

for tool in flock cpio dpkg gzip sha256sum ldd; do
	command -v "$tool" >/dev/null || die "missing program: $tool"
done
BUSYBOX=$(command -v busybox) || die "missing program: busybox (package busybox-static)"
if ldd "$BUSYBOX" >/dev/null 2>&1; then
	die "$BUSYBOX is not static (package busybox-static)"
fi
IPERF3=$(command -v iperf3) || die "missing program: iperf3"
ETHTOOL=$(PATH="$PATH:/usr/sbin:/sbin" command -v ethtool) || die "missing program: ethtool"

mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"
flock 9

WORK=
cleanup() { [ -z "$WORK" ] || rm -rf "$WORK"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$CACHE"/.image.*	# left by one that was killed: it does not hold the lock any more
WORK=$(mktemp -d "$CACHE/.image.XXXXXX")

# --- the kernel -------------------------------------------------------------------------------

fetch_kernel() {
	local pkg deb

	command -v apt-get >/dev/null || die "no apt-get here: give KERNEL=path of a kernel"
	pkg=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1) || true
	if [ -z "$pkg" ] && [ "$(id -u)" = 0 ]; then
		apt-get update -qq >&2 || true
		pkg=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
			sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1) || true
	fi
	[ -n "$pkg" ] || die "apt does not know linux-image-cloud-amd64 (apt-get update?)"
	echo "guest-image.sh: downloading $pkg" >&2
	# apt's own user cannot write here, and need not: signatures are checked all the same
	(cd "$WORK" && apt-get -q -o APT::Sandbox::User=root download "$pkg" >&2) ||
		die "could not download $pkg"
	deb=$(echo "$WORK"/linux-image-*.deb)
	dpkg -x "$deb" "$WORK/kernel" || die "could not unpack $deb"
	rm -f "$deb"
	rm -rf "$CACHE/kernel"
	mv "$WORK/kernel" "$CACHE/kernel"
}

# The release stands in a bzImage at the offset that its header gives at 0x20e, plus 0x200.
release_of() {
	local off

	off=$(od -An -tu2 -j $((0x20e)) -N 2 "$1" | tr -d ' ')
	dd if="$1" bs=1 skip=$((off + 512)) count=128 2>/dev/null | tr '\0' ' ' | cut -d ' ' -f 1
}

if [ -n "${KERNEL:-}" ]; then
	KERNEL=$(readlink -f "$KERNEL")
	[ -r "$KERNEL" ] || die "cannot read the kernel $KERNEL"
	RELEASE=$(release_of "$KERNEL")
	MODULES="/lib/modules/$RELEASE"
	# a kernel moved elsewhere from where this script unpacked it
	[ -d "$MODULES" ] || MODULES="$CACHE/kernel/lib/modules/$RELEASE"
	[ -d "$MODULES" ] || echo "guest-image.sh: no modules for kernel $RELEASE:" \
		"virtio has to be built in" >&2
else
	KERNEL=$(ls "$CACHE"/kernel/boot/vmlinuz-* 2>/dev/null | head -n 1) || true
	if [ -z "$KERNEL" ]; then
		fetch_kernel
		KERNEL=$(ls "$CACHE"/kernel/boot/vmlinuz-* | head -n 1)
	fi
	RELEASE=${KERNEL##*/vmlinuz-}
	MODULES="$CACHE/kernel/lib/modules/$RELEASE"
	[ -d "$MODULES" ] || MODULES="$CACHE/kernel/usr/lib/modules/$RELEASE"
fi

# --- is what we have still right? -------------------------------------------------------------

KEY=$({ echo "$KERNEL" "$RELEASE"; stat -Lc '%n %s %Y' "$KERNEL" "$BUSYBOX" "$IPERF3" "$ETHTOOL"
	sha256sum <"$SELF"; } | sha256sum | cut -c 1-16)
INITRD="$CACHE/initrd-$KEY.cpio.gz"
if [ -s "$INITRD" ]; then
	printf '%s\n%s\n' "$KERNEL" "$INITRD"
	exit 0
fi

# --- the initramfs ----------------------------------------------------------------------------

ROOT="$WORK/root"
mkdir -p "$ROOT"/{bin,dev,proc,sys,tmp,run,etc,modules,lib/x86_64-linux-gnu,lib64}
cp "$BUSYBOX" "$ROOT/bin/busybox"

add_program() {
	local lib

	cp -L "$1" "$ROOT/bin/"
	ldd "$1" | grep -o '/[^ ]*' | while read -r lib; do
		case "$lib" in
		/lib64/*) cp -L "$lib" "$ROOT/lib64/" ;;
		*) cp -L "$lib" "$ROOT/lib/x86_64-linux-gnu/" ;;
		esac
	done
}
add_program "$IPERF3"
add_program "$ETHTOOL"

# A module and, before it, those that it needs; the order is kept for the guest in a list.
: >"$ROOT/modules/order"
add_module() {
	local name=$1 file dep

	[ ! -e "$ROOT/modules/$name.ko" ] || return 0
	file=$(find "$MODULES/kernel" \( -name "$name.ko" -o -name "${name//_/-}.ko" \
		-o -name "$name.ko.xz" -o -name "$name.ko.zst" -o -name "$name.ko.gz" \) \
		2>/dev/null | head -n 1) || true	# no folder of modules at all
	[ -n "$file" ] || return 0	# built into the kernel
	case "$file" in
	*.xz) xz -dc "$file" ;;
	*.zst) zstd -qdc "$file" ;;
	*.gz) gzip -dc "$file" ;;
	*) cat "$file" ;;
	esac >"$ROOT/modules/$name.ko"
	for dep in $(tr '\0' '\n' <"$ROOT/modules/$name.ko" | sed -n 's/^depends=//p' | tr ',-' ' _'); do
		add_module "$dep"
	done
	echo "$name" >>"$ROOT/modules/order"
}
for module in virtio_pci virtio_mmio virtio_console virtio_net 8021q; do
	add_module "$module"
done

cat >"$ROOT/init" <<'INIT'
#!/bin/busybox sh
# The guest's first process: mounts, loads modules, names itself, then serves commands.
/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=dumb LD_LIBRARY_PATH=/lib/x86_64-linux-gnu
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs -o size=1G tmp /tmp
echo 1 >/proc/sys/kernel/printk
for m in $(cat /modules/order); do
	insmod /modules/$m.ko || echo "init: $m does not load"
done
name=guest ip= mtu= port=
for w in $(cat /proc/cmdline); do
	case "$w" in
	vhu.name=*) name=${w#*=} ;;
	vhu.ip=*) ip=${w#*=} ;;
	vhu.mtu=*) mtu=${w#*=} ;;
	vhu.shell=*) port=/dev/${w#*=} ;;
	esac
done
hostname "$name"
ip link set lo up
# Hot-added memory is put to use at once, and for everything: the buffers of frames, too.
[ ! -e /sys/devices/system/memory/auto_online_blocks ] ||
	echo online_kernel >/sys/devices/system/memory/auto_online_blocks
# vhu.ip=A/P,B/P,...: one address a device, in the order of eth0, eth1, ...
i=0
for a in $(echo "$ip" | tr , ' '); do
	[ -z "$mtu" ] || ip link set eth$i mtu "$mtu"
	echo 0 >/proc/sys/net/ipv6/conf/eth$i/accept_dad
	ip link set eth$i up
	ip addr add "$a" dev eth$i
	# an IPv6 address with the same last number, ready at once
	h=${a%/*}
	ip -6 addr add fd00:$i::${h##*.}/64 dev eth$i 2>/dev/null
	i=$((i + 1))
done
# A line "ID SECONDS BASE64" on the virtio port vhu.shell, or on a terminal vhu.shell=NAME, is run as a script; its output is answered, then
# a line "\001ID STATUS".
serve() {
	printf '\001ready %s\n' "$name"
	while :; do
		# The end of file only means that nobody is connected: this ends when the machine does.
		if ! read -r id secs script; then
			usleep 50000
			continue
		fi
		[ -n "$script" ] || continue
		echo "$script" | base64 -d >/run/cmd.$id
		timeout -s KILL "$secs" sh /run/cmd.$id </dev/null 2>&1
		status=$?
		rm -f /run/cmd.$id
		printf '\n\001%s %s\n' "$id" "$status"
	done
}
cd /tmp
[ -z "$port" ] || stty -F "$port" raw -echo
while [ -z "$port" ]; do
	for p in /sys/class/virtio-ports/*; do
		[ "$(cat "$p/name" 2>/dev/null)" != vhu.shell ] || port=/dev/${p##*/}
	done
	[ -n "$port" ] || usleep 20000
done
# One open for both ways: the port takes no second.
serve 0<>"$port" 1>&0
INIT
chmod 755 "$ROOT/init"

(cd "$ROOT" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$WORK/initrd"
# Others may be in use by a guest that is about to start: only old ones go.
find "$CACHE" -maxdepth 1 -name 'initrd-*' -mtime +30 -delete
mv "$WORK/initrd" "$INITRD"
printf '%s\n%s\n' "$KERNEL" "$INITRD"
