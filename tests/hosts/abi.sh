#!/bin/sh
# What siphook.so shows to the world: abi.sh SIPHOOK.SO
so=$1
cc=${CC:-gcc}
failed=0
complain() {
	echo "FAILED: $*"
	failed=$((failed + 1))
}
here=$(dirname "$0")
root=$here/../..
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

symbols=$(nm -D --defined-only "$so" | awk '{ print $3 }')
[ "$symbols" = siphook_entry ] || complain "$so exports" $symbols

if readelf -d "$so" | grep -q TEXTREL; then complain "$so is not position independent (TEXTREL)"; fi
readelf -d "$so" | grep -q NODELETE || complain "$so may be unloaded"
if readelf -d "$so" | grep NEEDED | grep -Eq 'liblua|libosip'; then complain "$so needs a Lua or libosip2 from outside"; fi

# The guard knows all that comes from OpenSSL.
for name in $(nm -D --undefined-only "$so" | sed -n 's/.* U \([A-Za-z0-9_]*\)@OPENSSL_.*/\1/p'); do
	grep -q "SYMBOL($name)" "$root/module/guard.c" || complain "module/guard.c does not look at $name"
done

for standard in c99 c11; do
	echo '#include "siphook.h"' >"$tmp/one.c"
	$cc -std=$standard -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$root/module" "$tmp/one.c" ||
		complain "siphook.h as $standard"
done
echo '#include "siphook.h"' >"$tmp/one.cc"
case $cc in *clang*) cxx=clang++ ;; *) cxx=g++ ;; esac
$cxx -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$root/module" "$tmp/one.cc" || complain "siphook.h as C++17"

# Each function of the header says which threads it is for.
awk '
	/^[ \t]*\/\*/ { text = ""; inside = 1 }
	inside { text = text $0; if (/\*\//) inside = 0; next }
	/\(\*[a-z_]+\)\(/ { if (text !~ /\[(any|host|worker)[]:;]/) print }
	{ text = "" }' "$root/module/siphook.h" >"$tmp/untagged"
[ ! -s "$tmp/untagged" ] || complain "siphook.h does not say the thread of: $(cat "$tmp/untagged")"

# The command is a host like any other.
if grep -n '#include "' "$root"/module/tool/*.[ch] | grep -v '"\(siphook\|tool\)\.h"'; then complain "the command sees more than siphook.h"; fi
[ "$failed" -eq 0 ]
