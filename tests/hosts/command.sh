#!/bin/sh
# The `siphook` command from outside: command.sh BUILD_FOLDER SCRIPT
siphook=$(realpath "$1/siphook")
plan=$(realpath "$2")
dir=$(mktemp -d)
export XDG_RUNTIME_DIR="$dir/run"
mkdir -m 700 "$XDG_RUNTIME_DIR"
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$dir"' EXIT
die() {
	echo "must hold: $*"
	cat "$dir"/out "$dir"/err "$dir"/log 2>/dev/null
	exit 1
}
# runs CODE COMMAND...: the command ends with this code; its texts are in out and err
runs() {
	want=$1
	shift
	timeout 20 "$siphook" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
	[ "$code" -eq "$want" ] || die "siphook $* ends with $want, not $code"
}
says() { grep -qF -- "$2" "$dir/$1" || die "$1 says: $2"; }
port() { python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# start NAME ARGUMENT...: in the background, until it is ready
start() {
	rm -f "$dir/ready"
	"$siphook" run "$@" >"$dir/ready" 2>"$dir/log" &
	pid=$!
	for _ in $(seq 100); do
		grep -qs 'listening on' "$dir/ready" && return
		kill -0 "$pid" 2>/dev/null || die "siphook run $* runs"
		sleep 0.05
	done
	die "siphook run $* is ready"
}
ends() {
	wait "$pid"
	code=$?
	pid=
	[ "$code" -eq "$1" ] || die "siphook run ends with $1, not $code"
}

runs 0 version && says out "siphook 0.1.0"
runs 0 --help && says out registrations
runs 1
runs 1 frobnicate && says err '"frobnicate"'
runs 1 run --frobnicate && says err "--frobnicate"
runs 1 status -w 3 && says err "-w"
runs 1 run && says err "script is missing"
runs 1 run -o wrokers=2 "$plan" && says err '"wrokers" (did you mean "workers"?)'
runs 1 run "$dir/missing.lua" && says err missing.lua
runs 1 run -l pigeon://roof "$plan" && says err "pigeon://roof"
runs 1 run -c "$dir/missing.conf" && says err missing.conf
runs 1 status && says err "no siphook answers"

runs 0 check "$plan"
printf 'local sip = require "siphook"\nlocal a = = 1\n' >"$dir/broken.lua"
runs 1 check "$dir/broken.lua" && says err "broken.lua:2:"
runs 1 check --json "$dir/broken.lua" && says out '"ok":false'

cp "$plan" "$dir/plan.lua"
uri=udp://127.0.0.1:$(port)
printf '# a comment\nscript = plan.lua   # beside this file\nlisten = %s\nconfig.colour = a#b\n' "$uri" >"$dir/siphook.conf"
printf 'no equals sign\n' >"$dir/wrong.conf"
runs 1 run -c "$dir/wrong.conf" && says err "wrong.conf:1:"
runs 0 check -c "$dir/siphook.conf"

start -c "$dir/siphook.conf"
says ready "siphook 0.1.0: listening on $uri, generation 1"
socket=$XDG_RUNTIME_DIR/siphook/control.sock
[ "$(stat -c '%a %F' "$socket")" = "600 socket" ] || die "the control socket is ours alone"
[ "$(stat -c %a "$XDG_RUNTIME_DIR/siphook")" = 700 ] || die "its folder is ours alone"
for what in status calls registrations; do
	runs 0 $what
	runs 0 $what --json && python3 -m json.tool "$dir/out" >/dev/null || die "$what --json is JSON"
done
runs 0 reload && says out "generation 2"
runs 0 reload --json && says out '"generation":3'
runs 1 hangup && says err "id"
runs 1 hangup nobody && says err "no such call: nobody"
runs 1 run -c "$dir/siphook.conf" && says err "in use by a running process"
[ -S "$socket" ] || die "the socket of the running server stays"
runs 1 run -c "$dir/siphook.conf" -s "$dir/other.sock" && says err "$uri"
[ ! -e "$dir/other.sock" ] || die "a failed start leaves nothing behind"

cp "$dir/broken.lua" "$dir/plan.lua"
runs 1 reload && says err "plan.lua:2:"
runs 0 status
kill -HUP "$pid"
for _ in $(seq 100); do grep -q "plan.lua:2:" "$dir/log" && break; sleep 0.05; done
says log "plan.lua:2:"
cp "$plan" "$dir/plan.lua"
runs 0 stop
ends 0
[ ! -e "$socket" ] || die "the socket is gone after a stop"

# A server that died leaves a socket that the next one takes.
start -c "$dir/siphook.conf"
kill -9 "$pid"
wait "$pid" 2>/dev/null
[ -S "$socket" ] || die "a dead server leaves its socket"
runs 1 status && says err "no siphook answers"
start -c "$dir/siphook.conf"
kill -TERM "$pid"
ends 0
[ ! -e "$socket" ] || die "SIGTERM removes the socket"

# What is not a socket of ours is never removed.
echo precious >"$socket"
runs 1 run -c "$dir/siphook.conf" && says err "not a socket"
[ "$(cat "$socket")" = precious ] || die "another's file stays"
