#!/bin/sh
# Runs every unit test and every fuzz corpus of one build folder; the last line is "N passed, N failed".
out=$1
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$out"/tests/*_test; do
	[ -x "$t" ] || continue
	if CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$t" >"$log" 2>&1; then
		n=$(grep -c '^ok' "$log")
		[ "$n" -gt 0 ] || { echo "$t ran no test"; failed=$((failed + 1)); }
		passed=$((passed + n))
	else
		echo "FAILED: $t"
		grep -v '^ok' "$log" | tail -40
		n=$(grep -c '^not ok' "$log")
		[ "$n" -gt 0 ] || n=1
		failed=$((failed + n))
		passed=$((passed + $(grep -c '^ok' "$log")))
	fi
done
for r in "$out"/replay/*; do
	[ -x "$r" ] || continue
	case $r in *.d) continue ;; esac
	name=$(basename "$r")
	corpus=tests/fuzz/corpus/$name
	if timeout 300 "$r" "$corpus" >"$log" 2>&1; then
		passed=$((passed + 1))
	else
		echo "FAILED: $r"
		tail -40 "$log"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
