#!/bin/sh
# The object in processes that are not ours: run.sh BUILD_FOLDER ADAPTERS. The last line is "N passed, N failed".
# CC and FLAGS (sanitizers) are those that the object was built with.
out=$1
hosts=$(realpath "$2")
built=$(dirname "$hosts") # siphook.so, siphook, hosts/: as the user has them
here=$(dirname "$0")
root=$here/../..
cc=${CC:-gcc}
so=$(realpath "$out/siphook.so")
bin=$out/tests/hosts
passed=0
failed=0
mkdir -p "$bin" || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A command of two minutes at most; functions limit themselves.
limited() {
	case $1 in serve | judge) "$@" ;; *) timeout 120 "$@" ;; esac
}
try() {
	name=$1
	shift
	if limited "$@" >"$log" 2>&1; then
		passed=$((passed + 1))
	else
		echo "FAILED: $name"
		head -5 "$log"; echo ...; tail -40 "$log"
		failed=$((failed + 1))
	fi
}
compile() {
	$cc -std=gnu11 -D_GNU_SOURCE -g -O1 -pthread -Wall -Wextra -Werror $FLAGS -I"$root/module" "$@" >"$log" 2>&1 || {
		cat "$log"
		return 1
	}
}

for fake in none:0 short:16; do
	compile -shared -fPIC -fvisibility=hidden -DSIZE="${fake#*:}" -o "$bin/fake_${fake%:*}.so" "$here/fake_object.c" || failed=$((failed + 1))
done
compile -shared -fPIC -fno-builtin -fno-sanitize=all -o "$bin/no_catalogues.so" "$here/no_catalogues.c" || failed=$((failed + 1))
for host in host_abi host_driven host_fork host_stop host_exit host_guard host_copies; do
	case $host in host_exit) libs=-lcrypto ;; host_guard) libs=-rdynamic ;; *) libs= ;; esac
	# The leak checker hangs in fork children and fails where threads are parked; the other hosts look for leaks.
	case $host in host_exit | host_fork) asan=detect_leaks=0 ;; *) asan= ;; esac
	if compile -o "$bin/$host" "$here/$host.c" -ldl $libs; then
		try "$host" env ASAN_OPTIONS="$asan" "$bin/$host" "$so" "$here/host.lua"
	else
		failed=$((failed + 1))
	fi
done

# Hosts that were compiled with an older and with a newer header.
sed -e 's|^\(#define SIPHOOK_ABI_MINOR\) .*|\1 99|' -e '/^struct siphook_host {/,/^};/s|^};|void *later;\n};|' \
	-e '/^struct siphook_api {/,/^};/s|^};|int (*later)(struct siphook *s);\n};|' "$root/module/siphook.h" >"$bin/siphook-next.h"
for version in 1.0 next; do
	case $version in next) next=-DSIPHOOK_NEXT ;; *) next= ;; esac
	# shellcheck disable=SC2086
	if compile $next -I"$bin" -DSIPHOOK_HEADER="\"siphook-$version.h\"" -o "$bin/host_$version" "$here/host_versions.c" -ldl; then
		try "a host with the header $version" "$bin/host_$version" "$so" "$here/host.lua"
	else
		failed=$((failed + 1))
	fi
done

try "the command line" sh "$here/command.sh" "$out" "$here/host.lua"
# Port 5060 in a network of its own, where that is allowed.
if unshare -n true 2>/dev/null; then
	try "the steps of docs/tutorial.md" unshare -n sh -c 'ip link set lo up && exec python3 "$@"' sh "$here/../trial/tutorial.py" "$out" \
		"$root/docs/tutorial.md"
else
	try "the steps of docs/tutorial.md" python3 "$here/../trial/tutorial.py" "$out" "$root/docs/tutorial.md"
fi
try "the examples of docs/host-abi.md" env CC="$cc" FLAGS="$FLAGS" sh "$here/doc_examples.sh" "$so"

# Hosts that are not compiled here: with a sanitizer its runtime comes first in the process.
preload=
[ -z "$FLAGS" ] || preload=$($cc -print-file-name=libasan.so)
try "the Python adapter" env ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$preload" python3 -B "$here/python_host.py" "$so" "$bin"

try "the command as a service" env ASAN_OPTIONS=detect_leaks=0 python3 "$here/service.py" "$out/siphook"

# Stock servers, each in a network of its own. What waits most of its time runs beside the others.
serve() {
	env PRELOAD="$preload" timeout 240 python3 -B "$here/$1.py" "$hosts" "$so" "$bin"
}
judge() {
	cat "$2"
	return "$1"
}
have() {
	command -v "$1" >/dev/null || {
		echo "skipped: $1 is not installed"
		return 1
	}
}
besides=
beside() {
	name=$1
	shift
	"$@" >"$bin/$name.log" 2>&1 &
	besides="$besides $name:$!"
}
if have nginx; then beside nginx serve nginx; fi
beside handover_state env ASAN_OPTIONS=detect_leaks=0 timeout 120 python3 -B "$here/handover_state.py" "$out/siphook"
beside handover env ASAN_OPTIONS=detect_leaks=0 timeout 120 python3 -B "$here/handover.py" "$out/siphook"
for server in redis:redis-server mosquitto:mosquitto apache:apache2ctl postgresql:pg_ctlcluster; do
	if have "${server#*:}"; then try "${server%:*}" serve "${server%:*}"; fi
done
if [ -z "$FLAGS" ]; then
	if ! command -v redis-server >/dev/null || ! command -v sipp >/dev/null; then
		echo "skipped: docs/hosts.md needs redis-server and sipp"
	elif unshare -n true 2>/dev/null; then
		try "the commands of docs/hosts.md" unshare -n sh -c 'ip link set lo up && exec python3 "$@"' sh "$here/../trial/tutorial.py" "$built" "$root/docs/hosts.md" "$root"
	else
		try "the commands of docs/hosts.md" python3 "$here/../trial/tutorial.py" "$built" "$root/docs/hosts.md" "$root"
	fi
	try "make demo" python3 -B "$here/demo.py" "$root"
	try "the links of the pages, here and installed" python3 -B "$here/links.py" "$root"
	try "the Debian package" sh "$here/deb.sh" "$root"
fi
for one in $besides; do
	wait "${one#*:}"
	try "${one%:*}" judge $? "$bin/${one%:*}.log"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
