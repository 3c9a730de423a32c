#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetches the QEMU of this Debian's backports beside the installed one and prints its command line,
# one word a line; it installs nothing and must not touch apt's own lists.
#
# Kept in ${XDG_CACHE_HOME:-$HOME/.cache}/vhu/qemu-backports. Exit status 1, with the reason, where
# it cannot be had.
set -euo pipefail

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/vhu"
ROOT="$CACHE/qemu-backports"

die() { echo "$*" >&2; exit 1; }

words() {
	local libs="$ROOT/usr/lib/x86_64-linux-gnu"

	# packages that were here already when this was made give the rest of the libraries
	printf '%s\n' env "LD_LIBRARY_PATH=$libs:$libs/pulseaudio" \
		"$ROOT/usr/bin/qemu-system-x86_64" \
		-L "$ROOT/usr/share/qemu" -L "$ROOT/usr/share/seabios"
}

works() {
	local line=()

	[ -e "$ROOT/.complete" ] || return 1
	mapfile -t line < <(words)
	"${line[@]}" --version >/dev/null 2>&1
}

command -v apt-get >/dev/null && command -v flock >/dev/null || die "no apt-get here"
mkdir -p "$CACHE"
exec 9>"$CACHE/.lock-backports"
flock 9
if works; then
	words
	exit 0
fi

rm -rf "$CACHE"/.qemu.*	# left by one that was killed: it does not hold the lock any more
WORK=$(mktemp -d "$CACHE/.qemu.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$suite" ] || die "this system does not name its release"
uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
	awk -v suite="$suite" '$2 == suite {print $1; exit}')
[ -n "$uri" ] || die "apt has no source of $suite"

mkdir -p "$WORK"/{lists/partial,cache/archives/partial,debs,root}
key=/usr/share/keyrings/debian-archive-keyring.gpg
signed=
[ ! -e "$key" ] || signed="[signed-by=$key] "
for name in "$suite" "$suite-backports"; do
	echo "deb $signed$uri $name main"
done >"$WORK/sources.list"
apt=(-q -o "Dir::Etc::sourcelist=$WORK/sources.list" -o Dir::Etc::sourceparts=/dev/null
	-o "Dir::State::lists=$WORK/lists" -o "Dir::Cache=$WORK/cache" -o APT::Sandbox::User=root
	-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Debug::NoLocking=1)

apt-get "${apt[@]}" update >"$WORK/log" 2>&1 || die "$suite-backports cannot be reached"
if grep -q '^\(Err\|E\):' "$WORK/log"; then
	die "$suite-backports cannot be reached"
fi
apt-cache "${apt[@]}" madison qemu-system-x86 | grep -q "$suite-backports" ||
	die "$suite-backports has no qemu-system-x86"
# What an installation would bring, is downloaded only
apt-get "${apt[@]}" -t "$suite-backports" --no-install-recommends -s install qemu-system-x86 \
	qemu-system-data seabios 2>"$WORK/log" | sed -n 's/^Inst \([^ ]*\).* (\([^ ]*\) .*/\1=\2/p' \
	>"$WORK/wanted" || die "qemu-system-x86 of $suite-backports: $(tail -n 1 "$WORK/log")"
grep -q '^qemu-system-x86=' "$WORK/wanted" || die "nothing newer than the installed QEMU"
(cd "$WORK/debs" && xargs apt-get "${apt[@]}" download <"$WORK/wanted" >"$WORK/log" 2>&1) ||
	die "could not download QEMU of $suite-backports: $(tail -n 1 "$WORK/log")"
for deb in "$WORK"/debs/*.deb; do
	dpkg -x "$deb" "$WORK/root"
done
touch "$WORK/root/.complete"
rm -rf "$ROOT"
mv "$WORK/root" "$ROOT"
works || die "QEMU of $suite-backports does not start here"
words
