#!/bin/sh
# The `siphook` command from outside: command.sh BUILD_FOLDER SCRIPT. In a network of its own where that is allowed: a port that is free when
# it is chosen is so when it is opened, again and again.
if [ -z "$COMMAND_OWN_NET" ] && unshare -n true 2>/dev/null; then
	export COMMAND_OWN_NET=1
	exec unshare -n sh -c 'ip link set lo up && exec sh "$@"' sh "$0" "$@"
fi
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
port() { python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import sip; print(sip.free_port())' "$(dirname "$0")"; }
# start NAME ARGUMENT...: in the background, until it is ready
start() {
	rm -f "$dir/ready"
	"$siphook" run "$@" >"$dir/ready" 2>"$dir/log" &
	pid=$!
	for _ in $(seq 400); do
		grep -qs 'generation 1' "$dir/ready" && return # the end of the line: it is there as a whole
		kill -0 "$pid" 2>/dev/null || die "siphook run $* runs"
		sleep 0.05
	done
	die "siphook run $* is ready"
}
# soon WORDS COMMAND...: within twenty seconds it succeeds
soon() {
	words=$1
	shift
	for _ in $(seq 400); do
		"$@" && return
		sleep 0.05
	done
	die "$words"
}
ends() {
	wait "$pid"
	code=$?
	pid=
	[ "$code" -eq "$1" ] || die "siphook run ends with $1, not $code"
}

runs 0 version && says out "siphook 0.1.0"
runs 0 version --json && says out '"version":"0.1.0"'
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
printf 'error({})\n' >"$dir/object.lua"
runs 1 check "$dir/object.lua" && says err "object.lua:1: (error object is a table value)"

# siphook test: exit code, order, filter, TAP, parallel files
mkdir "$dir/t"
cat >"$dir/t/plan.lua" <<'END'
local sip = require "siphook"
sip.on.invite(function(call) call:reject(486) end)
END
cat >"$dir/t/good_test.lua" <<'END'
local t = require "siphook.test"
t.case("busy", function() print("hello") t.load("plan.lua"):phone("alice"):invite("bob"):expect(486) end)
t.case("busy twice # really", function() t.load("plan.lua"):phone("alice"):invite("bob"):expect("4xx") end)
t.skip "later"
END
cat >"$dir/t/bad_test.lua" <<'END'
local t = require "siphook.test"
t.case("answered", function() t.load("plan.lua"):phone("alice"):invite("bob"):expect(200) end)
END
printf 'local t = = 1\n' >"$dir/t/broken_test.lua"
runs 0 test "$dir/t/good_test.lua" && says out "2 passed, 0 failed, 1 skipped" && says out hello
runs 1 test "$dir/t/bad_test.lua" "$dir/t/good_test.lua" && says out "2 passed, 1 failed"
says out "bad_test.lua:2: alice expected 200 OK, but 486 Busy Here (INVITE) came"
says out "plan.lua:2: call:reject(486)"
runs 0 test --filter "busy twice" "$dir/t/good_test.lua" && says out "1 passed, 0 failed"
runs 0 test --filter "^busy$" --seed 3 --loss 0.1 --jobs 2 "$dir/t/good_test.lua" "$dir/t/good_test.lua" && says out "2 passed, 0 failed"
runs 1 test --tap "$dir/t/good_test.lua" "$dir/t/bad_test.lua" "$dir/t/broken_test.lua"
for line in "TAP version 13" "ok 1 - busy" 'ok 2 - busy twice \# really' "ok 3 - later # SKIP" "not ok 4 - answered" "not ok 5" "broken_test.lua:1:" \
	"1..5"; do says out "$line"; done
cat >"$dir/t/lines_test.lua" <<'END'
local t = require "siphook.test"
t.case("lines", function() print "one\ntwo" t.fail "three\nfour" end)
END
: >"$dir/t/empty_test.lua"
runs 1 test --tap "$dir/t/lines_test.lua" "$dir/t/empty_test.lua"
grep -qvE '^(#|ok|not ok|1\.\.2|TAP)' "$dir/out" && die "each line is TAP"
says out "# there is no case in this file"
runs 1 test "$dir/t/plan.lua" && says out "this is a dial plan"
runs 1 check "$dir/t/good_test.lua" && says err "this is a file of tests"
runs 1 test && says err "the test file is missing"
runs 1 test --filter nothing "$dir/t/good_test.lua" && says err 'no case has a name with "nothing"'
runs 1 test "$dir/t/none_test.lua" && says out "cannot read"
runs 1 test --loss 2 "$dir/t/good_test.lua" && says err "--loss 2"

# what is written and can never happen
cat >"$dir/strange.lua" <<'END'
local sip = require "siphook"
sip.on.answer(function() end)
sip.on.binding(function() end)
sip.timer.tick = function() end
sip.timer.tock = function() sip.after(1, "tock") end
sip.on.message(function(req)
  sip.after(5, "remind", req.body)
  req:reply(200)
  sip.http.gett(sip.lokup "x", "sip.text")         -- sip.comment
  last = req.body
end)
END
runs 0 check "$dir/strange.lua"
for line in "strange.lua:2: warning: the hook answer never runs" "strange.lua:3: warning: the hook binding never runs" \
	"strange.lua:4: warning: sip.timer.tick: nobody names it" "strange.lua:7: warning: there is no sip.timer.remind" \
	"strange.lua:9: warning: there is no sip.http.gett" "strange.lua:9: warning: there is no sip.lokup" \
	"strange.lua:10: warning: global 'last' is not declared: setting it will be an error"; do says err "$line"; done
grep -Eq "sip.(text|comment)" "$dir/err" && die "texts and comments are not code"
grep -q tock "$dir/err" && die "tock is named"
runs 0 check --json "$dir/strange.lua" && python3 -m json.tool "$dir/out" >/dev/null || die "check --json is JSON"
runs 0 check "$plan" && [ ! -s "$dir/err" ] || die "nothing is strange about $plan"

cp "$plan" "$dir/plan.lua"
uri=udp://127.0.0.1:$(port)
printf '# a comment\nscript = plan.lua   # beside this file\nlisten = %s\nconfig.colour = a#b\n' "$uri" >"$dir/siphook.conf"
printf 'no equals sign\n' >"$dir/wrong.conf"
runs 1 run -c "$dir/wrong.conf" && says err "wrong.conf:1:"
runs 0 check -c "$dir/siphook.conf"
printf 'script = plan.lua\nwrokers = 2\n' >"$dir/wrong.conf"
runs 1 run -c "$dir/wrong.conf" && says err 'wrong.conf:2: unknown option "wrokers"'
runs 1 check -c "$dir/wrong.conf" && says err 'wrong.conf:2: unknown option "wrokers"'

start -c "$dir/siphook.conf"
says ready "siphook 0.1.0: listening on $uri, generation 1"
socket=$XDG_RUNTIME_DIR/siphook/control.sock
[ "$(stat -c '%a %F' "$socket")" = "600 socket" ] || die "the control socket is ours alone"
[ "$(stat -c %a "$XDG_RUNTIME_DIR/siphook")" = 700 ] || die "its folder is ours alone"
for what in status calls registrations; do
	runs 0 $what
	runs 0 $what --json && python3 -m json.tool "$dir/out" >/dev/null || die "$what --json is JSON"
done
runs 0 metrics && says out "siphook_script_generation 1" && says out "# TYPE siphook_calls gauge"
runs 0 reload && says out "generation 2"
runs 0 reload --json && says out '"generation":3'
runs 1 hangup && says err "id"
runs 1 hangup nobody && says err "no such call: nobody"
runs 1 run -c "$dir/siphook.conf" && says err "in use by a running process"
[ -S "$socket" ] || die "the socket of the running server stays"
runs 1 run -c "$dir/siphook.conf" -s "$dir/other.sock" && says err "$uri"
[ ! -e "$dir/other.sock" ] || die "a failed start leaves nothing behind"

# A dial plan whose own test fails is refused, and the ladder is in the log.
cat >"$dir/plan.lua" <<'END'
local sip = require "siphook"
sip.on.invite(function(call) call:reject(486) end)
sip.selftest(function(plan) plan:phone("alice"):invite("bob"):expect(200) end)
END
runs 1 reload && says err "plan.lua:3: alice expected 200 OK, but 486 Busy Here (INVITE) came"
says log "plan.lua:2: call:reject(486)"
runs 1 check "$dir/plan.lua" && says err "selftest: "

# A live call is written to a file, runs again, and is compared. A caller in a few lines: INVITE, the refusal, ACK. What a web server has
# said to the dial plan, and what it found in a store, is in the file.
web=$(port)
cat >"$dir/plan.lua" <<END
local sip = require "siphook"
local counts = sip.shared "counts"
sip.on.invite(function(call)
  local answer = sip.http.get("http://127.0.0.1:$web/code", { password = "hidden", user = "me" })
  counts:incr "calls"
  call:reject(tonumber(sip.config.code or answer and answer.body or 500))
end)
END
runs 0 reload
"$siphook" record --filter sip:bob@ "$dir/call.json" 2>"$dir/recording" &
recorder=$!
soon "siphook record waits for a call" grep -q waiting "$dir/recording"
runs 1 record "$dir/other.json" && says err "a call is being recorded already"
python3 - "${uri##*:}" "$web" <<'END'
import http.server, socket, sys, threading
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"486")
    def log_message(self, *args):
        pass
threading.Thread(target=http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Web).serve_forever, daemon=True).start()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
s.settimeout(5)
server, here = ("127.0.0.1", int(sys.argv[1])), s.getsockname()[1]
def text(method, to):
    return (f"{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{here};branch=z9hG4bKrecord1;rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:alice@127.0.0.1>;tag=1\r\nTo: {to}\r\nCall-ID: record1@127.0.0.1\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:alice@127.0.0.1:{here}>\r\nContent-Length: 0\r\n\r\n").encode()
s.sendto(text("INVITE", "<sip:bob@127.0.0.1>"), server)
while True:
    answer = s.recv(65536).decode()
    if int(answer.split(" ")[1]) >= 200:
        break
s.sendto(text("ACK", next(l[4:] for l in answer.split("\r\n") if l.startswith("To: "))), server)
END
wait "$recorder" || die "siphook record ends when the call is over: $(cat "$dir/recording")"
grep -q "call.json: [0-9]* messages, 1 requests to web servers, 1 keys of stores" "$dir/recording" || die "it says what it has: $(cat "$dir/recording")"
grep -q hidden "$dir/call.json" && die "passwords are not in a record"
runs 0 replay "$dir/call.json" "$dir/plan.lua" && says out "answers the caller 486 Busy Here  (plan.lua:6: call:reject)" && says out "no difference"
says out "asks http://127.0.0.1:$web/code"
runs 1 replay -o config.code=603 "$dir/call.json" "$dir/plan.lua" && says out "2 differences"
runs 0 replay --case "$dir/call.json" "$dir/plan.lua" && says out "out:expect(486)"
cp "$dir/out" "$dir/call_test.lua"
runs 0 test "$dir/call_test.lua" && says out "1 passed, 0 failed"
runs 1 replay "$dir/plan.lua" && says err "no record of siphook"
runs 1 record && says err "the file of the record is missing"

cp "$dir/broken.lua" "$dir/plan.lua"
runs 1 reload && says err "plan.lua:2:"
runs 0 status
refusals() { grep -c "plan.lua:2: unexpected symbol" "$dir/log"; }
before=$(refusals)
kill -HUP "$pid"
more() { [ "$(refusals)" -gt "$before" ]; }
soon "SIGHUP reloads, and the log says what came of it" more
cp "$plan" "$dir/plan.lua"
runs 0 stop
ends 0
[ ! -e "$socket" ] || die "the socket is gone after a stop"

# a dial plan that says where it listens
uri=udp://127.0.0.1:$(port)
printf 'local sip = require "siphook"\nsip.listen{ uri = "%s" }\n' "$uri" >"$dir/listens.lua"
start "$dir/listens.lua"
says ready "listening on $uri, generation 1"
runs 0 stop
ends 0

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

# Where it is found without -s: a service of root listens under /run, also for a shell that has an XDG_RUNTIME_DIR.
rm "$socket"
if unshare -m true 2>/dev/null; then
	unshare -m sh -c '
		mount -t tmpfs none /run || exit 1
		env -u XDG_RUNTIME_DIR "$1" run -l udp://127.0.0.1:0 "$2" >"$3/ready" 2>"$3/log" &
		pid=$!
		for _ in $(seq 400); do [ -S /run/siphook/control.sock ] && break; sleep 0.05; done
		[ "$(stat -c %a /run/siphook)" = 700 ] && [ "$(stat -c %a /run/siphook/control.sock)" = 600 ] &&
		"$1" status >"$3/out" 2>"$3/err" && env -u XDG_RUNTIME_DIR "$1" stop --json >"$3/out" 2>"$3/err"
		code=$?
		[ "$code" = 0 ] || kill "$pid"
		wait "$pid" && [ "$code" = 0 ] && [ ! -e /run/siphook/control.sock ]
	' sh "$siphook" "$plan" "$dir" || die "a server of root is found at /run/siphook/control.sock, mode 0600 in 0700"
	says out '{"ok":true'
fi
