#!/bin/sh
# Part of an OpenSSL that siphook was not linked with, in the same process: foreign.sh SIPHOOK FOREIGN.so SCRIPT. One line that
# names both, exit code 1. PRELOAD: what must come first (a sanitizer's runtime).
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
said=$(LD_PRELOAD="$PRELOAD $2" timeout 20 "$1" run -s "$dir/control" -l udp://127.0.0.1:0 "$3" 2>&1)
code=$?
case "$code $said" in
"1 siphook: "*" comes from "*"libcrypto.so"*" but EVP_DigestUpdate from $2: two OpenSSLs cannot be mixed") ;;
*)
	echo "code $code: $said"
	exit 1
	;;
esac
