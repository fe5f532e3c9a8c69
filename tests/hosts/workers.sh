#!/bin/sh
# workers.sh OUT: four worker threads behind one UDP and one TCP address take calls, registrations and OPTIONS while the script is
# reloaded. All datagrams of one peer come to one of the workers' sockets, and a call belongs to any of the four: three of four
# messages arrive at the wrong worker and cross. With the thread sanitizer's variant in OUT any race is a failure. In a network
# namespace of its own when that is possible.
out=$1
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$SIPHOOK_OWN_NET" ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
	SIPHOOK_OWN_NET=1 exec unshare -n sh -c 'ip link set lo up && exec sh "$0" "$@"' "$0" "$@"
fi
tmp=$(mktemp -d) || exit 1
failed=0 passed=0
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$tmp"' EXIT
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -o "$tmp/load" "$here"/../bench/load*.c -lssl -lcrypto -lm || exit 1
cp "$here/../bench/plan.lua" "$tmp/plan.lua"
TSAN_OPTIONS="halt_on_error=0 exitcode=66" "$out/siphook" run -s "$tmp/sock" -l udp://127.0.0.1:15060 \
	-l tcp://127.0.0.1:15060 -w 4 -o config.users=50 "$tmp/plan.lua" >"$tmp/log" 2>&1 &
server=$!

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
check "calls by UDP" load -r 60 -n 180 -d 50 invite
check "registrations by UDP" load -r 60 -n 120 register
reloads &
reloading=$!
# Calls go on while the script is reloaded.
check "calls while the script is reloaded" load -r 60 -n 180 -d 50 invite
check "reloads" wait $reloading
check "registrations by TCP" load -T tcp -c 8 -r 60 -n 120 register
check "OPTIONS by TCP" load -T tcp -c 8 -r 60 -n 120 options
kill $server
wait $server
check "no race, and a clean end" [ $? = 0 ]
if grep -q "ThreadSanitizer" "$tmp/log"; then
	failed=$((failed + 1))
	grep -A25 "WARNING: ThreadSanitizer" "$tmp/log" | head -80
fi
[ $failed = 0 ] || cat "$tmp/load.log" "$tmp/reload.log"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
