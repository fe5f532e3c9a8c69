#!/bin/sh
# 10,000 reloads under light traffic: resident memory must stay flat, and no call may be lost. Every tenth script is broken and
# must be refused. Flat: from the first fifth to the end it grows by no more than 256 bytes for each reload (one script of this
# size takes 100 times as much). Ends after 14 minutes at the latest.
# shellcheck source=lib.sh disable=SC2086
. "$(dirname "$0")/lib.sh"
reloads=${RELOADS:-10000}
limit=840 allowed=256
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
done=0 wrong=0 from=0 baseline=
while [ $done -lt "$reloads" ] && [ $(($(date +%s) - started)) -lt $limit ]; do
	done=$((done + 1))
	write_plan $done "$tmp/plan.lua"
	if [ $((done % 10)) = 0 ]; then
		echo "error(" >>"$tmp/plan.lua"
		"$build/siphook" reload -s "$tmp/soak.sock" >/dev/null 2>&1 && wrong=$((wrong + 1))
	else
		"$build/siphook" reload -s "$tmp/soak.sock" >/dev/null 2>&1 || wrong=$((wrong + 1))
	fi
	if [ $((done % (reloads / 20))) = 0 ]; then
		now=$(memory $siphook)
		[ -z "$baseline" ] && [ $done -ge $((reloads / 5)) ] && baseline=$now from=$done
		echo "$done reloads, $(($(date +%s) - started)) s: $now kB"
	fi
done
touch "$tmp/stop"
wait $traffic
end=$(memory $siphook)
lost=$(tr ' ' '\n' <"$tmp/traffic" | awk -F= '$1 == "ok" { ok += $2 } $1 == "failed" { f += $2 } END { print f + 0 " of " ok + f }')
[ -n "$baseline" ] || die "only $done reloads in $limit s"
growth=$(((end - baseline) * 1024 / (done - from)))
echo "$done reloads, answered wrongly $wrong; lost calls $lost; $growth bytes of growth per reload, at most $allowed"
[ $wrong = 0 ] && [ "${lost%% *}" = 0 ] && [ $growth -le $allowed ]
