#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs into a temporary folder, builds a user of the library by its pkg-config file alone, and uninstalls again.
#
# usage: scripts/install-check.sh
set -euo pipefail
cd "$(dirname "$0")/.."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
trap 'echo "failed in line $LINENO: $BASH_COMMAND"' ERR

# A build folder of its own: the prefix is written into what is built.
arguments=(--no-print-directory "BUILD=$root/build" PREFIX=/opt/vhu "DESTDIR=$root/dest")
make "${arguments[@]}" install >"$root/log" 2>&1 || {
	cat "$root/log"
	exit 1
}

cat >"$root/user.c" <<'END'
#include <stdio.h>
#include <vhu/backend.h>
#include <vhu/net.h>

int main(void)
{
	struct vhu_domain *domain = NULL;

	if (vhu_domain_new(&domain))
		return 1;
	vhu_domain_free(domain);
	return puts(vhu_version()) < 0;
}
END
prefix=$root/dest/opt/vhu
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name libvhu.pc)")
read -ra cflags < <(pkg-config --define-variable=prefix="$prefix" --cflags libvhu)
read -ra libs < <(pkg-config --define-variable=prefix="$prefix" --libs libvhu)
libdir=$(pkg-config --define-variable=prefix="$prefix" --variable=libdir libvhu)
cc -Wall -Werror "${cflags[@]}" -o "$root/shared" "$root/user.c" "${libs[@]}"
cc -Wall -Werror "${cflags[@]}" -o "$root/static" "$root/user.c" "$libdir/libvhu.a"
wanted=$(pkg-config --modversion libvhu)
[[ $(LD_LIBRARY_PATH=$libdir "$root/shared") == "$wanted" ]]
[[ $("$root/static") == "$wanted" ]]
[[ $("$prefix/bin/vhu" --version) == *"$wanted"* ]]
# libc and nothing else: that is promised to those who embed it.
needed=$(objdump -p "$libdir/libvhu.so" | awk '$1 == "NEEDED" && $2 !~ /^(libc|ld-linux.*)\.so/ { print $2 }')
[[ -z $needed ]] || {
	echo "libvhu.so needs $needed"
	exit 1
}

make "${arguments[@]}" uninstall >"$root/log" 2>&1 || {
	cat "$root/log"
	exit 1
}
left=$(find "$root/dest" ! -type d)
[[ -z $left ]] || {
	echo "left behind by make uninstall:"
	echo "$left"
	exit 1
}
