#!/bin/sh
# docs/architecture.md says which layer stands on which: no file includes a header of a layer above its own. A pair of numbers and
# names a line, from the lowest; a layer that is not in the list is an error too.
root=$(dirname "$0")/..
layers="core=0 drivers/net=1 drivers/sim=1 msg=1 transport=2 txn=3 registrar=4 b2bua=5 script=6 engine=7 trial=8 ops=8"
failed=0
rank() {
	for pair in $layers; do
		[ "${pair%=*}" = "$1" ] && echo "${pair#*=}" && return
	done
	echo none
}
for file in $(cd "$root/module" && ls ./*/*.[ch] ./*/*/*.[ch]); do
	file=${file#./}
	case $file in tool/*) continue ;; esac # a host: tests/hosts/abi.sh
	own=$(rank "${file%/*}")
	for header in $(sed -n 's/^#include "\(.*\)".*/\1/p' "$root/module/$file"); do
		case $header in siphook.h) continue ;; esac
		other=$(rank "${header%/*}")
		if [ "$own" = none ] || [ "$other" = none ] || [ "$other" -gt "$own" ] ||
			{ [ "$other" -eq "$own" ] && [ "${header%/*}" != "${file%/*}" ]; }; then
			echo "module/$file includes $header: a layer stands on those below it"
			failed=1
		fi
	done
done
exit $failed
