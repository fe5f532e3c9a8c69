#!/bin/sh
# workers.sh OUT: four worker threads behind one UDP and one TCP address take calls, registrations and OPTIONS while the script is
# reloaded. First requests of one peer come to one of the workers' sockets, and a call belongs to any of the four: three of four
# cross; what follows comes to its worker at once, also in the next process, which has the sockets from the first. With the thread
# sanitizer's variant in OUT any race is a failure. In a network namespace of its own when that is possible.
out=$1
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$SIPHOOK_OWN_NET" ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
	SIPHOOK_OWN_NET=1 exec unshare -n sh -c 'ip link set lo up && exec sh "$0" "$@"' "$0" "$@"
fi
tmp=$(mktemp -d) || exit 1
failed=0 passed=0 first=
trap 'kill $server $first 2>/dev/null; wait $server $first 2>/dev/null; rm -rf "$tmp"' EXIT
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -o "$tmp/load" "$here"/../bench/load*.c -lssl -lcrypto -lm || exit 1
cp "$here/../bench/plan.lua" "$tmp/plan.lua"

start() {
	TSAN_OPTIONS="halt_on_error=0 exitcode=66" "$out/siphook" run -s "$tmp/sock" -l udp://127.0.0.1:15060 \
		-l tcp://127.0.0.1:15060 -w 4 -o config.users=50 -o "handover=$tmp/state" "$tmp/plan.lua" >"$1" 2>&1 &
	server=$!
}
mkdir -m 700 "$tmp/state"
start "$tmp/log"

check() {
	name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $name"
	fi
}

load() {
	timeout 60 "$tmp/load" -t 127.0.0.1:15060 -U 50 "$@" >>"$tmp/load.log"
}

handed_over() {
	"$out/siphook" status --json -s "$tmp/sock" | sed -n 's/.*"handed_over": *\([0-9]*\).*/\1/p'
}

# Of a call the INVITE crosses; of all six messages it would be 4.5 a call.
few_cross() {
	before=$(handed_over)
	load -r 60 -n 180 -d 50 invite && [ $(($(handed_over) - before)) -lt 270 ]
}

reloads() {
	for i in 1 2 3 4 5 6; do
		echo "-- $i" >>"$tmp/plan.lua"
		"$out/siphook" reload -s "$tmp/sock" >>"$tmp/reload.log" 2>&1 || return 1
		sleep 0.3
	done
}

tries=0
until load -r 10 -n 1 options 2>/dev/null || [ $tries = 50 ]; do
	tries=$((tries + 1))
	sleep 0.2
done
check "calls by UDP, of which one message crosses" few_cross
check "registrations by UDP" load -r 60 -n 120 register
reloads &
reloading=$!
# Calls go on while the script is reloaded.
check "calls while the script is reloaded" load -r 60 -n 180 -d 50 invite
check "reloads" wait $reloading
check "registrations by TCP" load -T tcp -c 8 -r 60 -n 120 register
check "OPTIONS by TCP" load -T tcp -c 8 -r 60 -n 120 options
first=$server
start "$tmp/log2"
tries=0
until grep -q "taken over from epoch" "$tmp/log2" || [ $tries = 150 ]; do
	tries=$((tries + 1))
	sleep 0.2
done
check "calls by UDP in the next process, of which one message crosses" few_cross
for process in $first $server; do
	kill "$process"
	wait "$process"
	check "no race, and a clean end" [ $? = 0 ]
done
for log in "$tmp/log" "$tmp/log2"; do
	if grep -q "ThreadSanitizer" "$log"; then
		failed=$((failed + 1))
		grep -A25 "WARNING: ThreadSanitizer" "$log" | head -80
	fi
done
[ $failed = 0 ] || cat "$tmp/load.log" "$tmp/reload.log"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
