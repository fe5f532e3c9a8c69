#!/bin/sh
# 10,000 reloads under light traffic: resident memory must stay flat, and no call may be lost. Every tenth script is broken and
# must be refused. Resident memory goes up and down by some megabytes: with the calls of the last 32 seconds, and with the two
# or three generations that are alive at a time. So it is looked at 200 times, the first fifth is warm-up, and what counts is the
# slope of the straight line through the rest: at most 128 bytes for each reload, which is less than the smallest thing that
# could be forgotten of a script of 500 lines. Ends after 14 minutes at the latest.
# shellcheck source=lib.sh disable=SC2086
. "$(dirname "$0")/lib.sh"
reloads=${RELOADS:-10000}
limit=840 allowed=128
started=$(date +%s)

traffic() {
	while [ ! -e "$tmp/stop" ]; do
		load $siphook_port -r 50 -n 500 -d 100 invite
		load $siphook_port -r 50 -n 100 register
	done >"$tmp/traffic"
}

build_load
write_plan 0 "$tmp/plan.lua"
start_siphook soak $siphook_port "$tmp/plan.lua" -o config.users=100
traffic &
traffic=$!
done=0 wrong=0
: >"$tmp/samples"
while [ $done -lt "$reloads" ] && [ $(($(date +%s) - started)) -lt $limit ]; do
	done=$((done + 1))
	write_plan $done "$tmp/plan.lua"
	if [ $((done % 10)) = 0 ]; then
		echo "error(" >>"$tmp/plan.lua"
		"$build/siphook" reload -s "$tmp/soak.sock" >/dev/null 2>&1 && wrong=$((wrong + 1))
	else
		"$build/siphook" reload -s "$tmp/soak.sock" >/dev/null 2>&1 || wrong=$((wrong + 1))
	fi
	if [ $((done % (reloads / 200))) = 0 ]; then
		now=$(memory $siphook)
		echo "$done $now" >>"$tmp/samples"
		[ $((done % (reloads / 20))) = 0 ] && echo "$done reloads, $(($(date +%s) - started)) s: $now kB"
	fi
done
touch "$tmp/stop"
wait $traffic
lost=$(tr ' ' '\n' <"$tmp/traffic" | awk -F= '$1 == "ok" { ok += $2 } $1 == "failed" { f += $2 } END { print f + 0 " of " ok + f }')
[ $done -ge $((reloads * 9 / 10)) ] || die "only $done reloads in $limit s"
growth=$(awk -v from=$((done / 5)) '$1 > from { n++; x += $1; y += $2; xx += $1 * $1; xy += $1 * $2 }
	END { printf "%.0f", 1024 * (n * xy - x * y) / (n * xx - x * x) }' "$tmp/samples")
echo "$done reloads, answered wrongly $wrong; lost calls $lost; $growth bytes of growth per reload, at most $allowed"
[ $wrong = 0 ] && [ "${lost%% *}" = 0 ] && [ $growth -le $allowed ]
