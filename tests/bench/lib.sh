# shellcheck shell=sh disable=SC2034,SC2086,SC2015
# What soak.sh stands on: servers, load and memory. Everything stays on 127.0.0.1 and in $tmp; every
# process is ended by the id under which it was started. BASE moves the ports, BUILD is where siphook and siphook.so are.
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-$here/../../build}" && pwd) || exit 1
base=${BASE:-15060}
siphook_port=$base caller=$((base + 20)) callee=$((base + 30))
tmp=$(mktemp -d) || exit 1
pids=

die() {
	echo "$0: $*" >&2
	exit 1
}

# Ends one process that was started here and waits for it; ten seconds, then by force.
end() {
	kill "$1" 2>/dev/null
	tries=0
	while kill -0 "$1" 2>/dev/null && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

finish() {
	for p in $pids; do end "$p"; done
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT TERM

build_load() {
	[ -x "$build/siphook" ] && [ -f "$build/siphook.so" ] || die "no siphook in $build: make"
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -o "$tmp/load" "$here"/load*.c -lssl -lcrypto -lm || die "load does not compile"
}

# load PORT ARGUMENTS: one line of key=value on standard output.
load() {
	to=$1
	shift
	timeout 120 "$tmp/load" -t "127.0.0.1:$to" -p $caller -u $callee "$@"
}

# field KEY LINE
field() {
	echo "$2" | tr ' ' '\n' | sed -n "s/^$1=//p"
}

wait_ready() {
	tries=0
	until load "$2" -n 1 options >/dev/null 2>&1; do
		tries=$((tries + 1))
		kill -0 "$1" 2>/dev/null && [ $tries -lt 20 ] || { cat "$3" >&2; die "the server on port $2 does not answer"; }
		sleep 0.2
	done
}

# start_siphook NAME PORT SCRIPT [OPTIONS]: its process id is in $siphook.
start_siphook() {
	name=$1 port=$2 script=$3
	shift 3
	"$build/siphook" run -s "$tmp/$name.sock" -l "udp://127.0.0.1:$port" -w 1 -o "config.callee=127.0.0.1:$callee" "$@" \
		"$script" >"$tmp/$name.log" 2>&1 &
	siphook=$!
	pids="$pids $siphook"
	wait_ready $siphook "$port" "$tmp/$name.log"
}

# What a process has of the machine's memory, in kilobytes; pages that are shared count in part.
memory() {
	awk '$1 == "Pss:" { print $2 }' "/proc/$1/smaps_rollup"
}

# write_plan NUMBER FILE: a dial plan of 500 lines; no two numbers give the same text.
write_plan() {
	{
		cat "$here/plan.lua"
		awk -v number="$1" -v have="$(wc -l <"$here/plan.lua")" 'BEGIN {
			printf "local rules = { number = %d }\n", number
			for (i = 0; have + 1 + 4 * (i + 1) <= 500; i++)
				printf "rules[%d] = function(user, prefix)\n  local rest = user:match(\"^%04d(%%d+)$\")\n  %s\nend\n",
					i + 1, i, "return rest and \"sip:\" .. (prefix or \"\") .. rest .. \"@127.0.0.1\""
			for (i = have + 1 + 4 * i; i < 500; i++) print "-- " i
		}'
	} >"$2.new" && mv "$2.new" "$2"
}
