#!/bin/sh
# Other people's SIP against siphook: run.sh FOLDER, which has siphook and siphook.so. A line for each test, then the sum.
# A part whose program is not installed counts as failed: with SKIP=1 it is passed over. Linphone always may be missing.
dir=$(dirname "$(realpath "$0")")
build=$(realpath "$1") || exit 1
if [ ! -x "$build/siphook" ] || [ ! -r "$build/siphook.so" ]; then
	echo "$build has no siphook"
	exit 1
fi

# In a network namespace of its own, if that is allowed: the ports are ours, and the loopback device gets an address that
# phones that refuse loopback addresses can take, with a route, without which linphonec thinks that the network is down.
if [ -z "$SIPHOOK_INTEROP" ]; then
	export SIPHOOK_INTEROP=1
	unshare -n true 2>/dev/null && exec unshare -n sh "$dir/run.sh" "$build"
	unshare -rn true 2>/dev/null && exec unshare -rn sh "$dir/run.sh" "$build"
	unset SIPHOOK_INTEROP
fi
if [ -n "$SIPHOOK_INTEROP" ]; then
	ip link set lo up && ip addr add 10.77.0.1/32 dev lo && ip route add default dev lo src 10.77.0.1 || exit 1
fi

out=$(mktemp -d)
pids=
stop() {
	trap - EXIT INT TERM
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null
	wait
	rm -rf "$out"
}
trap stop EXIT
trap 'exit 1' INT TERM

passed=0
failed=0
# part NAME PROGRAM...: NAME.py, if its programs are there
part() {
	name=$1
	shift
	for program in "$@"; do
		command -v "$program" >/dev/null && continue
		if [ "$SKIP" = 1 ]; then
			echo "ok - $name # SKIP $program is not installed"
		else
			echo "not ok - $name: $program is not installed"
			failed=$((failed + 1))
		fi
		return
	done
	timeout -k 5 170 python3 -B "$dir/$name.py" "$build" >"$out/$name" 2>&1 &
	pids="$pids $!"
	parts="$parts $name"
}
parts=
part sipp sipp
part phones baresip
part outbound baresip
part transfers baresip
part command
part trunks sipp
part transports
part secure openssl
part trouble sipp
part names sipp
part door svmap svwar svcrack
SKIP=1 part linphone linphonec

# shellcheck disable=SC2086
set -- $pids
for name in $parts; do
	wait "$1"
	code=$?
	shift
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$out/$name" | tail -1)
	f=${line#*, }
	f=${f%% failed*}
	grep -vxF "$line" "$out/$name"
	n=${line%% passed*}
	passed=$((passed + ${n:-0}))
	failed=$((failed + ${f:-0}))
	[ "$code" -eq 0 ] || [ "${f:-0}" -gt 0 ] || { echo "not ok - $name ends with $code"; failed=$((failed + 1)); }
done
pids=
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
