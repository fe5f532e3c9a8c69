#!/bin/sh
# Other people's programs against the built server: run.sh FOLDER_WITH_SIPHOOK. The last line is "N passed, N failed".
# Everything stays in a network namespace of its own: no port of the machine is touched, and its loopback device has
# one more address, since baresip refuses to work with loopback addresses alone.
out=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
if [ -z "$SIPHOOK_NETNS" ]; then
	if unshare --net true 2>/dev/null; then
		exec env SIPHOOK_NETNS=1 unshare --net sh "$here/run.sh" "$out"
	elif unshare --map-root-user --net true 2>/dev/null; then
		exec env SIPHOOK_NETNS=1 unshare --map-root-user --net sh "$here/run.sh" "$out"
	fi
	echo "no network namespace can be made (as root it can)"
	echo "0 passed, 1 failed"
	exit 1
fi
ip link set lo up && ip addr add 192.0.2.1/24 dev lo || exit 1
passed=0
failed=0
for part in sipp phones command; do
	echo "== $part"
	log=$(timeout 170 python3 "$here/$part.py" "$out" 2>&1)
	echo "$log" | grep -v '^[0-9]* passed, [0-9]* failed$'
	sum=$(echo "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -1)
	if [ -z "$sum" ]; then
		failed=$((failed + 1))
		continue
	fi
	passed=$((passed + ${sum%% passed*}))
	f=${sum#*, }
	failed=$((failed + ${f%% failed*}))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
