#!/bin/sh
# What a call costs, beside Kamailio where it is installed: run.sh, or QUICK=1 run.sh for a shorter look. docs/performance.md
# has the method. Four minutes, quick one and a half.
# shellcheck source=lib.sh disable=SC2086
. "$(dirname "$0")/lib.sh"
pairs=5 seconds=5 steady=34 slope=16
[ -n "$QUICK" ] && pairs=3 seconds=2 slope=6
hz=$(getconf CLK_TCK)

# cost PID PORT RATE SCENARIO: microseconds of processor per completed call in $cost, the generator's line in $line.
cost() {
	before=$(ticks "$1")
	line=$(load "$2" -r "$3" -n $(($3 * seconds)) "$4")
	after=$(ticks "$1")
	lost=$(($(field failed "$line") + 0))
	cost=$(awk -v t=$((after - before)) -v hz="$hz" -v n="$(field ok "$line")" 'BEGIN { printf "%.1f", t * 1e6 / hz / (n ? n : 1) }')
}

# Median, smallest and largest of the numbers in a file.
summary() {
	sort -n "$1" | awk -v f="$2" '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		printf f " (" f " to " f ")", m, v[1], v[NR] }'
}

verdict() {
	awk -v a="$1" -v b="$2" 'BEGIN { print a <= b ? "met" : "MISSED" }'
}

# compare SCENARIO RATE TARGET: the runs alternate, siphook first.
compare() {
	echo "== $1 at $2/s, one worker, processor time per $1"
	for server in siphook kamailio; do
		: >"$tmp/$server.cost"
		[ $server = siphook ] || [ -n "$kamailio" ] && load "$(eval echo \$${server}_port)" -r "$2" -n "$2" "$1" >/dev/null
	done
	: >"$tmp/ratio"
	i=0
	while [ $i -lt $pairs ]; do
		i=$((i + 1))
		cost "$siphook" $siphook_port "$2" "$1"
		echo "$cost" >>"$tmp/siphook.cost"
		ours=$cost
		echo "$i siphook  $cost us  lost=$lost p50=$(field p50_us "$line") us p99=$(field p99_us "$line") us"
		[ -n "$kamailio" ] || continue
		cost "$kamailio" $kamailio_port "$2" "$1"
		echo "$cost" >>"$tmp/kamailio.cost"
		echo "$i kamailio $cost us  lost=$lost p50=$(field p50_us "$line") us p99=$(field p99_us "$line") us"
		awk -v a="$ours" -v b="$cost" 'BEGIN { printf "%.3f\n", a / b }' >>"$tmp/ratio"
	done
	echo "siphook  $(summary "$tmp/siphook.cost" %.0f) us"
	[ -n "$kamailio" ] || return
	echo "kamailio $(summary "$tmp/kamailio.cost" %.0f) us"
	ratio=$(summary "$tmp/ratio" %.2f)
	echo "ratio    $ratio, at most $3: $(verdict "${ratio%% *}" "$3")"
}

with_kamailio() {
	kamailio=
	if command -v kamailio >/dev/null; then
		start_kamailio "$1"
	else
		echo "kamailio is not installed (apt-get install kamailio kamailio-lua-modules): no ratios"
	fi
}

without_kamailio() {
	[ -z "$kamailio" ] || end "$kamailio"
	kamailio=
}

capacity() {
	echo "== 3000 calls/s for $((2 * seconds)) s, one worker"
	line=$(load $siphook_port -r 3000 -n $((6000 * seconds)) invite)
	echo "lost=$(field failed "$line") repeated=$(field again "$line") p50=$(field p50_us "$line") us" \
		"p99=$(field p99_us "$line") us, none lost: $(verdict "$(field failed "$line")" 0)"
}

# The longest time in which no call completed says what a reload costs the calls; without reloads it says what the machine does.
reloads() {
	echo "== 500 calls/s while a script of 500 lines is reloaded every second"
	write_plan 0 "$tmp/reload.lua"
	start_siphook reload $((base + 40)) "$tmp/reload.lua" -o config.users=1
	line=$(load $((base + 40)) -r 500 -n $((500 * seconds)) invite)
	echo "without reloads: lost=$(field failed "$line") longest gap $(field gap_ms "$line") ms"
	load $((base + 40)) -r 500 -n $((1000 * seconds)) invite >"$tmp/reload.line" &
	loader=$!
	i=0
	refused=0
	while [ $i -lt $((2 * seconds - 1)) ]; do
		sleep 1
		i=$((i + 1))
		write_plan $i "$tmp/reload.lua"
		"$build/siphook" reload -s "$tmp/reload.sock" >/dev/null || refused=$((refused + 1))
	done
	wait $loader
	line=$(cat "$tmp/reload.line")
	echo "$i reloads:       lost=$(field failed "$line") longest gap $(field gap_ms "$line") ms, refused=$refused," \
		"none lost: $(verdict "$(field failed "$line")" 0), at most 10 ms: $(verdict "$(field gap_ms "$line")" 10)"
	end $siphook
}

# Calls that stay and users who register, at a constant rate each. After 64 * T1 as many transactions end as begin: what
# still grows is calls and bindings.
memory_slopes() {
	echo "== memory, from the growth between second $steady and second $((steady + slope))"
	start_siphook calls $((base + 50)) "$here/plan.lua" -o config.users=1
	of_calls=$siphook
	start_siphook bindings $((base + 60)) "$here/plan.lua" -o config.users=100000
	of_bindings=$siphook
	load $((base + 50)) -r 500 -n $((500 * (steady + slope + 4))) -k invite >"$tmp/calls.line" &
	one=$!
	caller=$((base + 21)) callee=$((base + 31))
	load $((base + 60)) -r 1000 -n $((1000 * (steady + slope + 4))) -U 100000 register >"$tmp/bindings.line" &
	two=$!
	sleep $steady
	a=$(memory $of_calls) b=$(memory $of_bindings)
	sleep $slope
	a=$(($(memory $of_calls) - a)) b=$(($(memory $of_bindings) - b))
	wait $one $two
	echo "a call that is up: $((a * 1024 / (500 * slope))) bytes (lost=$(field failed "$(cat "$tmp/calls.line")"))"
	echo "a binding:         $((b * 1024 / (1000 * slope))) bytes (lost=$(field failed "$(cat "$tmp/bindings.line")"))"
	kill -9 $of_calls # thousands of calls are up: nobody is there for their BYEs
	end $of_bindings
}

build_load
echo "$(uname -m), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), $("$build/siphook" version)"
start_siphook bench $siphook_port "$here/plan.lua"
with_kamailio WITH_DIALOG
compare invite 2000 0.45
without_kamailio
with_kamailio WITHOUT_DIALOG
compare register 5000 0.5
without_kamailio
capacity
end $siphook
reloads
memory_slopes
