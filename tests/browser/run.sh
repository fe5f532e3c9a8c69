#!/bin/sh
# Browsers against siphook: run.sh FOLDER, which has siphook and siphook.so. Chromium, with JsSIP and SIP.js, which are
# fetched into its folder browser/. A line for each test, then the sum.
dir=$(dirname "$(realpath "$0")")
build=$(realpath "$1") || exit 1
work=$build/browser
for program in node npm chromium openssl baresip; do
	command -v $program >/dev/null && continue
	echo "not ok - browsers: $program is not installed"
	echo "0 passed, 1 failed"
	exit 1
done
if [ -z "$SIPHOOK_BROWSER" ]; then
	mkdir -p "$work"
	if ! cmp -s "$dir/package-lock.json" "$work/package-lock.json" || [ ! -d "$work/node_modules" ]; then
		cp "$dir/package.json" "$dir/package-lock.json" "$work/"
		(cd "$work" && npm ci --no-audit --no-fund --loglevel=error) || exit 1
	fi
	cp "$dir/phone.js" "$work/" && (cd "$work" && node_modules/.bin/esbuild phone.js --bundle --outfile=bundle.js --log-level=warning) || exit 1
	cp "$dir"/*.mjs "$dir"/*.lua "$work/"
	export SIPHOOK_BROWSER=1
	unshare -n true 2>/dev/null && exec unshare -n sh "$dir/run.sh" "$build"
	unshare -rn true 2>/dev/null && exec unshare -rn sh "$dir/run.sh" "$build"
	echo "no network namespace can be made"
	exit 1
fi
# baresip and WebRTC want an address that is not a loopback one, and a route.
ip link set lo up && ip addr add 10.77.0.1/32 dev lo && ip route add default dev lo src 10.77.0.1 || exit 1
cd "$work" && exec timeout -k 5 170 node test.mjs "$build/siphook"
