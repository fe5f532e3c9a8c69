#!/bin/sh
# micro.sh perf-check|perf-record BUILD/bench/micro: counts instructions with callgrind, and bytes, and compares them with counts.txt, or writes it.
# The counts hold for one compiler and one libc, which the record names; with others they are shown and judge nothing.
here=$(cd "$(dirname "$0")" && pwd)
record=$here/counts.txt
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
built=$("${CC:-gcc}" --version | head -1)
libc=$(ldd --version | head -1)

valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file="$tmp/out" "$2" >"$tmp/log" 2>&1 || {
	tail -30 "$tmp/log" >&2
	exit 1
}
# Each dump names its measure, which ran a hundred times.
for f in "$tmp"/out.*; do
	awk '/^desc: Trigger: Client Request: / { name = $NF } /^(totals|summary): / { n = $2 }
		END { if (name) printf "%s %d\n", name, n / 100 }' "$f"
done >"$tmp/counts"
[ -s "$tmp/counts" ] || { echo "callgrind counted nothing" >&2; exit 1; }
# A case of `siphook test`: what forty take more than the program itself.
cases() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "${2%/bench/*}/siphook" test --jobs 1 --filter "$1" "$here/cases.lua" >"$tmp/log" 2>&1 &&
		awk '/Collected :/ { print $NF }' "$tmp/log" || { tail -30 "$tmp/log" >&2; exit 1; }
}
few=$(cases ': [12]?[0-9]$' "$2") && many=$(cases ': [1-6]?[0-9]$' "$2") || exit 1
echo "case $(((many - few) / 40))" >>"$tmp/counts"
"$2" memory >>"$tmp/counts" || exit 1

if [ "$1" = perf-record ]; then
	{
		echo "# Instructions per run of each measure of micro.c, and bytes in use; make perf-record writes this."
		echo "# $built"
		echo "# $libc"
		cat "$tmp/counts"
	} >"$record"
	cat "$record"
	exit 0
fi
same=1
grep -qxF "# $built" "$record" && grep -qxF "# $libc" "$record" || same=0
[ $same = 1 ] || echo "recorded with another compiler or libc: the counts below judge nothing"
awk -v same=$same 'NR == FNR { if ($1 != "#") was[$1] = $2; next }
	{ seen[$1] = 1; growth = was[$1] ? ($2 / was[$1] - 1) * 100 : 0
	  verdict = !was[$1] ? "not on record" : growth > 3 ? "GREW" : growth < -3 ? "less: make perf-record" : "as recorded"
	  printf "%-16s %9d  %+6.1f %%  %s\n", $1, $2, growth, verdict
	  n++; if (same && (!was[$1] || growth > 3)) bad++ }
	END { for (name in was) if (!seen[name]) { printf "%-16s was not measured\n", name; bad++ }
	  printf "%d passed, %d failed\n", n - bad, bad; exit bad > 0 }' "$record" "$tmp/counts"
