#!/bin/sh
# 10,000 reloads under 500 calls/s: resident memory must stay flat, no call may be lost, no turn of the loop may take more than 10 ms
# of its own time. Every tenth script is broken and
# must be refused. Under traffic resident memory goes up and down by some megabytes: with the calls of the last 32 seconds, and
# with the two or three generations that are alive at a time. So what counts is taken at rest, when all transactions are over and
# one generation is alive: after the first fifth, which is warm-up, and at the end. Between them it may grow by 64 bytes for each
# reload, less than anything that could be forgotten of one. Ends after 14 minutes at the latest.
# shellcheck source=lib.sh disable=SC2086
. "$(dirname "$0")/lib.sh"
reloads=${RELOADS:-10000}
limit=740 allowed=64 pause=10000
started=$(date +%s)

traffic() {
	while [ ! -e "$tmp/stop" ]; do
		if [ -e "$tmp/pause" ]; then
			sleep 0.5
			continue
		fi
		load $siphook_port -r 500 -n 5000 -d 100 invite
		load $siphook_port -r 100 -n 100 register
	done >"$tmp/traffic"
}

reload() {
	"$build/siphook" reload -s "$tmp/soak.sock" >/dev/null 2>&1
}

# Processor time of the longest turn of the worker's loop, microseconds: the server knows that of the last minute, so it is asked twice a minute
# until $tmp/stop is there.
longest_turn() {
	"$build/siphook" status --json -s "$tmp/soak.sock" | sed -n 's/.*"longest_turn_cpu_us": *\([0-9]*\).*/\1/p'
}

# Memory when nothing goes on: the traffic in progress takes 12 seconds, its transactions 32.
at_rest() {
	touch "$tmp/pause"
	sleep 50
	reload
	sleep 1
	memory $siphook
	rm "$tmp/pause"
}

build_load
write_plan 0 "$tmp/plan.lua"
start_siphook soak $siphook_port "$tmp/plan.lua" -o config.users=100
traffic &
traffic=$!
while [ -d "$tmp" ] && [ ! -e "$tmp/stop" ]; do
	sleep 25
	longest_turn
done >"$tmp/turns" 2>/dev/null &
turns=$!
done=0 wrong=0 baseline=
while [ $done -lt "$reloads" ] && [ $(($(date +%s) - started)) -lt $limit ]; do
	done=$((done + 1))
	write_plan $done "$tmp/plan.lua"
	if [ $((done % 10)) = 0 ]; then
		echo "error(" >>"$tmp/plan.lua"
		reload && wrong=$((wrong + 1))
	else
		reload || wrong=$((wrong + 1))
	fi
	[ $((done % (reloads / 20))) = 0 ] && echo "$done reloads, $(($(date +%s) - started)) s: $(memory $siphook) kB"
	if [ -z "$baseline" ] && [ $done -ge $((reloads / 5)) ]; then
		baseline=$(at_rest) from=$done
		echo "$done reloads, at rest: $baseline kB"
	fi
done
write_plan $done "$tmp/plan.lua"
end=$(at_rest)
echo "$done reloads, at rest: $end kB"
touch "$tmp/stop"
wait $traffic $turns
turn=$(sort -n "$tmp/turns" | tail -1)
lost=$(tr ' ' '\n' <"$tmp/traffic" | awk -F= '$1 == "ok" { ok += $2 } $1 == "failed" { f += $2 } END { print f + 0 " of " ok + f }')
[ $done -ge $((reloads * 9 / 10)) ] || die "only $done reloads in $limit s"
growth=$(((end - baseline) * 1024 / (done - from)))
echo "$done reloads, answered wrongly $wrong; lost calls $lost; $growth bytes of growth per reload, at most $allowed; longest turn $turn us, at most $pause"
[ $wrong = 0 ] && [ "${lost%% *}" = 0 ] && [ $growth -le $allowed ] && [ "${turn:-$((pause + 1))}" -le $pause ]
