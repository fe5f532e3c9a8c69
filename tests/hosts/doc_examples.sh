#!/bin/sh
# The C of docs/host-abi.md: every block compiles against siphook.h; those with a main() are hosts, which must run: answer
# OPTIONS and end with 0 after SIGTERM. The first of them is examples/hosts/minimal.c, which has less than 80 lines. doc_examples.sh SIPHOOK.SO
so=$1
here=$(dirname "$0")
root=$here/../..
cc=${CC:-gcc}
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
die() {
	echo "must hold: $*"
	cat "$tmp/log" 2>/dev/null
	exit 1
}
awk -v dir="$tmp" '
	/^```c$/ { n++; inside = 1; next }
	/^```/ { inside = 0 }
	inside { print > sprintf("%s/%02d.c", dir, n) }' "$root/docs/host-abi.md"

programs=0
for block in "$tmp"/*.c; do
	flags="-std=gnu11 -g -Wall -Wextra -Werror $FLAGS -I$root/module"
	if ! grep -q '^int main' "$block"; then
		grep -q siphook.h "$block" || sed -i '1i #include "siphook.h"' "$block"
		# shellcheck disable=SC2086
		$cc $flags -Wno-unused-function -fsyntax-only "$block" 2>"$tmp/log" || die "$(basename "$block") compiles"
		continue
	fi
	programs=$((programs + 1))
	[ "$programs" -gt 1 ] || cmp -s "$block" "$root/examples/hosts/minimal.c" || die "the first program is examples/hosts/minimal.c"
	# shellcheck disable=SC2086
	$cc $flags -o "$tmp/host" "$block" -ldl 2>"$tmp/log" || die "$(basename "$block") compiles"
	port=$(python3 "$here/options.py" free)
	if [ "$programs" = 1 ]; then
		[ "$(wc -l <"$block")" -lt 80 ] || die "examples/hosts/minimal.c has less than 80 lines"
		set -- "script=$here/host.lua" "listen=udp://127.0.0.1:$port"
	else
		set -- "$here/host.lua" "udp://127.0.0.1:$port"
	fi
	"$tmp/host" "$so" "$@" >"$tmp/log" 2>&1 &
	pid=$!
	timeout 20 python3 "$here/options.py" "$port" || die "$(basename "$block") answers OPTIONS"
	if [ "$programs" = 1 ]; then
		kill -HUP "$pid"
		for _ in $(seq 200); do grep -q 'generation 2 of' "$tmp/log" && break; sleep 0.05; done
		grep -q 'generation 2 of' "$tmp/log" || die "SIGHUP reloads"
	fi
	kill -TERM "$pid"
	wait "$pid" || die "$(basename "$block") ends with 0"
	pid=
done
[ "$programs" -ge 2 ] || die "there are two programs in docs/host-abi.md"
