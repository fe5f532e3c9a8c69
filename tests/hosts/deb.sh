#!/bin/sh
# The Debian package is made, installed, used and removed without a trace: deb.sh ROOT_OF_THE_TREE. As root it is installed into
# this system for a moment, unless a siphook package is there already; without root it is unpacked and used from there.
root=$(cd "$1" && pwd)
tmp=$(mktemp -d)
installed=
cleanup() {
	[ -z "$installed" ] || dpkg --purge siphook >/dev/null 2>&1
	rm -rf "$tmp"
}
trap cleanup EXIT
die() {
	echo "must hold: $*"
	cat "$tmp/log" 2>/dev/null
	exit 1
}
make -C "$root" --no-print-directory deb >"$tmp/log" 2>&1 || die "make deb works"
deb=$(ls "$root"/build/siphook_*.deb)
dpkg-deb --info "$deb" >"$tmp/log" || die "$deb is a package"
grep -q 'Depends:.*libc6.*libssl3' "$tmp/log" || die "it depends on what it needs"
dpkg-deb --contents "$deb" >"$tmp/log"
for file in usr/bin/siphook usr/lib/siphook/siphook.so usr/lib/siphook/siphook_redis.so usr/lib/siphook/mod_siphook.so usr/lib/siphook/ngx_siphook_module.so \
	usr/lib/siphook/siphook_mosquitto.so usr/lib/siphook/siphook_postgresql.so usr/share/postgresql/15/extension/siphook.control \
	usr/share/siphook/examples/hosts/python/siphook.py usr/include/siphook.h usr/lib/pkgconfig/siphook.pc \
	usr/share/man/man1/siphook.1.gz usr/share/man/man5/siphook.conf.5.gz usr/share/bash-completion/completions/siphook usr/lib/systemd/system/siphook.service \
	usr/lib/systemd/system/siphook.socket etc/siphook/siphook.conf etc/siphook/dialplan.lua usr/share/doc/siphook/README.md usr/share/doc/siphook/docs/lua/calls.md; do
	grep -q " ./$file$" "$tmp/log" || die "$file is in it"
done
prefix=$tmp/unpacked
if [ "$(id -u)" = 0 ] && ! dpkg-query -W siphook >/dev/null 2>&1 && dpkg --install "$deb" >"$tmp/log" 2>&1; then
	installed=yes prefix=
else
	dpkg-deb --extract "$deb" "$prefix" || die "it can be unpacked"
fi
"$prefix/usr/bin/siphook" version >"$tmp/log" 2>&1 || die "the command finds its object"
"$prefix/usr/bin/siphook" check "$prefix/etc/siphook/dialplan.lua" >"$tmp/log" 2>&1 || die "its dial plan is good"
PKG_CONFIG_PATH=$prefix/usr/lib/pkgconfig pkg-config --modversion siphook >"$tmp/log" 2>&1 || die "pkg-config knows it"
cat >"$tmp/host.sh" <<'END'
cc -Wall -Wextra -Werror $(pkg-config --cflags siphook) -o "$1/host" "$2" $(pkg-config --libs siphook)
"$1/host" "$(pkg-config --variable=module siphook)" script="$3" listen=carrier-pigeon://roof 2>&1 | grep -q carrier-pigeon
END
if [ -n "$installed" ]; then
	sh "$tmp/host.sh" "$tmp" /usr/share/siphook/examples/hosts/minimal.c /etc/siphook/dialplan.lua >"$tmp/log" 2>&1 || die "a host is compiled with it"
	if command -v systemd-analyze >/dev/null; then
		systemd-analyze verify /usr/lib/systemd/system/siphook.service /usr/lib/systemd/system/siphook.socket >"$tmp/log" 2>&1 && [ ! -s "$tmp/log" ] ||
			die "systemd takes the units"
		[ "$(systemd-analyze security --offline=true --no-pager siphook.service | sed -n 's/.*level for siphook.service: \([0-9]*\).*/\1/p')" -lt 3 ] ||
			die "the service is hardened"
	fi
fi
if command -v man >/dev/null; then
	for page in man1/siphook.1 man5/siphook.conf.5; do
		man -l "$prefix/usr/share/man/$page.gz" >/dev/null 2>"$tmp/log" && [ ! -s "$tmp/log" ] || die "the manual $page can be read"
	done
fi
bash -c '. "$1"; COMP_WORDS=(siphook re) COMP_CWORD=1; _siphook; [[ "${COMPREPLY[*]}" == reload*registrations ]]' - \
	"$prefix/usr/share/bash-completion/completions/siphook" >"$tmp/log" 2>&1 || die "completion completes"
if [ -n "$installed" ]; then
	dpkg --purge siphook >"$tmp/log" 2>&1 || die "it can be removed"
	installed=
	for left in /usr/bin/siphook /usr/lib/siphook /etc/siphook /usr/share/siphook /usr/share/doc/siphook \
		/usr/share/postgresql/15/extension/siphook.control /usr/lib/systemd/system/siphook.service; do
		[ ! -e "$left" ] || die "nothing is left: $left"
	done
fi
