#!/bin/sh
# Makes build/siphook_VERSION_ARCH.deb from what is built: deb.sh BUILD_FOLDER. Needs dpkg-dev only.
set -e
build=$1
root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/.*SIPHOOK_VERSION *"\(.*\)".*/\1/p' "$root/module/siphook.h")
arch=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
make --no-print-directory -C "$root" DESTDIR="$stage" PREFIX=/usr install install-hosts >/dev/null
install -d "$stage/etc/siphook" "$stage/DEBIAN"
install -m 644 "$root/packaging/siphook.conf" "$stage/etc/siphook/siphook.conf"
install -m 644 "$root/examples/dialplans/office.lua" "$stage/etc/siphook/dialplan.lua"
mv "$stage/usr/share/doc/siphook/LICENSE" "$stage/usr/share/doc/siphook/copyright"
gzip -9n "$stage"/usr/share/man/man?/siphook*
find "$stage" -name '*.so' -o -path '*/bin/siphook' | while read -r f; do strip --strip-unneeded "$f"; done

# What the object needs, by the names and versions of Debian's packages.
mkdir -p "$stage/debian"
printf 'Source: siphook\n\nPackage: siphook\nArchitecture: any\nDescription: siphook\n' >"$stage/debian/control"
depends=$(cd "$stage" && dpkg-shlibdeps -O --ignore-missing-info usr/bin/siphook usr/lib/siphook/siphook.so 2>/dev/null |
	sed -n 's/^shlibs:Depends=//p')
rm -rf "$stage/debian"
cat >"$stage/DEBIAN/control" <<END
Package: siphook
Version: $version
Architecture: $arch
Maintainer: siphook maintainers <maintainers@siphook.invalid>
Installed-Size: $(du -sk "$stage" | cut -f1)
Depends: $depends
Suggests: apache2, mosquitto, nginx, postgresql-15, python3, redis-server
Section: comm
Priority: optional
Description: SIP registrar and back-to-back user agent, routed by Lua scripts
 siphook is one shared object that a server process loads with dlopen. This
 package has it, the command that runs it as a server of its own, adapters for
 other servers, and the documentation.
END
printf '/etc/siphook/siphook.conf\n/etc/siphook/dialplan.lua\n' >"$stage/DEBIAN/conffiles"
cat >"$stage/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
END
cat >"$stage/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl --now disable siphook.service siphook.socket >/dev/null 2>&1 || true; fi
END
cat >"$stage/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
END
chmod 755 "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm" "$stage/DEBIAN/postrm"
dpkg-deb --root-owner-group --build "$stage" "$root/$build/siphook_${version}_$arch.deb"
