#!/bin/sh
# All that CI runs: both compilers, the sanitizers, a little fuzzing. Ends with the sum of all tests.
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step() {
	name=$1
	shift
	echo "== $name"
	"$@" >"$log" 2>&1
	code=$?
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1)
	if [ -n "$line" ]; then
		passed=$((passed + ${line%% passed*}))
		f=${line#*, }
		failed=$((failed + ${f%% failed*}))
		[ "$code" -eq 0 ] || { [ "${f%% failed*}" -gt 0 ] || failed=$((failed + 1)); tail -60 "$log"; }
	elif [ "$code" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		tail -60 "$log"
	fi
	[ "$code" -eq 0 ] || echo "-- $name failed"
}
jobs=-j$(nproc)
step "release build, gcc" make $jobs CC=gcc
step "release build, clang" make $jobs CC=clang
step "the object: symbols and header" make $jobs CC=gcc abi
step "instruction counts" make CC=gcc perf-check
step "tests, gcc" make $jobs CC=gcc test
step "tests, clang" make $jobs CC=clang test
step "address and undefined behaviour sanitizers" make $jobs CC=clang asan
step "thread sanitizer" make $jobs CC=clang tsan
step "workers, thread sanitizer" make $jobs CC=clang VARIANT=tsan workers
step "hosts, gcc" make CC=gcc test-hosts
step "hosts, address sanitizer" make CC=gcc VARIANT=asan test-hosts
step "SIPp, phones and the command" make CC=gcc interop
step "browsers" make CC=gcc browser
step "chosen tests, valgrind" make $jobs CC=gcc memcheck
step "race explorer, fresh seeds" make CC=gcc explore SEEDS=500
# The same plans each time, so that a change is judged and not the day; make dialplans and make soak take fresh ones.
step "random dial plans" make CC=clang VARIANT=asan dialplans SEED=1 TIME="${DIALPLANS_TIME:-60}"
step "fuzzers" make $jobs fuzz TIME="${FUZZ_TIME:-13}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
