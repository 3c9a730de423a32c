#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the checks of the C sources that need no test program; what they look for stands in their own files.
#
# usage: scripts/lint.sh format|fix-format|tidy|cppcheck|rules|all [FOLDER]...
# Without folders all of the project. tidy reads how things are compiled from build-clang/ (make clang).
set -euo pipefail
cd "$(dirname "$0")/.."

folders=("${@:2}")
((${#folders[@]})) || folders=(include lib vmm tools tests bench examples)
mapfile -t sources < <(find "${folders[@]}" -name '*.[ch]' 2>/dev/null | sort)
jobs=$(nproc)

need()
{
	command -v "$1" >/dev/null || {
		echo "$1 is not installed"
		exit 77
	}
}

format()
{
	need clang-format
	((${#sources[@]})) || return 0
	local found
	found=$(clang-format --dry-run -Werror "${sources[@]}" 2>&1 | grep 'error:' | cut -d: -f1 | uniq -c) || :
	[[ -n $found ]] || return 0
	echo "$found" | while read -r count file; do
		echo "$file: $count places; make format mends them"
	done
	return 1
}

tidy()
{
	need clang-tidy
	[[ -f build-clang/compile_commands.json ]] || make --no-print-directory clang
	# Those that are compiled: a header is looked at with whoever includes it. One file a run: with
	# several, clang-tidy 14 takes its va_list knowledge of the first to the next and cries wolf.
	printf '%s\n' "${sources[@]}" | grep '\.c$' |
		xargs -r -P "$jobs" -n 1 clang-tidy -p build-clang --quiet --warnings-as-errors='*' 2>/dev/null
}

cppcheck_all()
{
	need cppcheck
	((${#sources[@]})) || return 0
	cppcheck --quiet --std=c11 --language=c --platform=unix64 --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=scripts/cppcheck-suppressions.txt --error-exitcode=1 \
		-D_GNU_SOURCE -DHAVE_SDT=0 -I include -I lib -j "$jobs" lib include
	cppcheck --quiet --std=c11 --language=c --platform=unix64 --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=scripts/cppcheck-suppressions.txt --error-exitcode=1 \
		-D_GNU_SOURCE -DHAVE_PCAP=1 -DHAVE_JANSSON=1 -DHAVE_SECCOMP=1 -DHAVE_SYSTEMD=1 \
		-D'json_array_foreach(a,i,v)=while ((v = json_array_get(a, next(&i))))' \
		-I include -I tools -I . -j "$jobs" tools vmm
}

# Our own rule about the rules: a check that is switched off says why.
rules()
{
	local bad=0 check file
	for file in .clang-tidy tests/.clang-tidy; do
		while read -r check; do
			grep -qF -- "# $check: " "$file" || {
				echo "$file: no reason given for -$check"
				bad=1
			}
		done < <(sed -n '/^Checks:/,$p' "$file" | sed -n 's/^ *-\([a-z][A-Za-z0-9.-]*\),*$/\1/p')
	done
	awk '/^[a-zA-Z]/ && prev !~ /^#/ { print FILENAME ": no reason above " $0; bad = 1 } { prev = $0 } END { exit bad }' \
		scripts/cppcheck-suppressions.txt || bad=1
	return "$bad"
}

case "${1:-all}" in
format) format ;;
fix-format) ((${#sources[@]} == 0)) || clang-format -i "${sources[@]}" ;;
tidy) tidy ;;
cppcheck) cppcheck_all ;;
rules) rules ;;
all)
	failed=0
	for check in rules format tidy cppcheck_all scripts/sources.py scripts/rooms-check.py; do
		echo "== ${check#scripts/}"
		"$check" || failed=1
	done
	exit "$failed"
	;;
*)
	sed -n '5s/^# //p' "$0" >&2
	exit 2
	;;
esac
