# siphook: `make` builds, `make test` checks, `make demo` runs. Everything that is made goes to build/.
# VARIANT selects flags and a folder of its own: release (default), test, asan, tsan, coverage, torture, fuzz.

CC       ?= gcc
PREFIX   ?= /usr/local
VARIANT  ?= release
BUILD    := build
OUT      := $(BUILD)/$(VARIANT)-$(notdir $(firstword $(CC)))

# V=1 shows the commands.
Q        := $(if $(V),,@)

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Werror
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2
LUA_CF   := $(shell pkg-config --cflags lua5.4 2>/dev/null)
BASE     := -std=gnu11 -D_GNU_SOURCE -g -fPIC -fvisibility=hidden -pthread -MMD -MP -Imodule $(LUA_CF) $(WARN)

FLAGS_release := -O2 $(HARDEN)
# On top of that, where each message comes by.
HOT           := core msg txn transport registrar b2bua script
HOT_release   := -O3
FLAGS_test    := -O1 -DSH_ALLOC_FAULTS
FLAGS_asan    := -O1 -DSH_ALLOC_FAULTS -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -DSH_ALLOC_FAULTS -fsanitize=thread
FLAGS_torture := $(FLAGS_asan) -DSH_TORTURE
FLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FLAGS_coverage := -O0 -DSH_ALLOC_FAULTS --coverage
CFLAGS   += $(BASE) $(FLAGS_$(VARIANT))
# What a program (not the object) is linked with beside its own code.
LINK_tsan := $(OUT)/tests/sanitizer/longjmp.o
LDLIBS   := -Wl,--wrap=luaT_tryconcatTM -Wl,-u,__wrap_luaT_tryconcatTM -l:liblua5.4.a -losipparser2 -lwslay -lcurl -lcares -ljansson -lssl -lcrypto -lm -pthread

# The layers, which the tests link too; the entry in front of them, which only the object has; the command, a host.
SRCS     := $(sort $(wildcard module/*/*.c module/drivers/*/*.c))
SRCS     := $(filter-out module/tool/%,$(SRCS))
OBJS     := $(SRCS:module/%.c=$(OUT)/module/%.o)
ENTRY    := $(patsubst module/%.c,$(OUT)/module/%.o,$(sort $(wildcard module/*.c)))
TOOL     := $(patsubst module/%.c,$(OUT)/module/%.o,$(sort $(wildcard module/tool/*.c)))
ARCHIVE  := $(OUT)/libsiphook.a
TESTS    := $(sort $(wildcard tests/unit/*_test.c tests/sim/*_test.c))
TEST_BIN := $(patsubst %.c,$(OUT)/tests/%,$(notdir $(TESTS)))
# What the tests on the virtual network share: phones, and the world around them.
SIM_OBJS := $(patsubst %.c,$(OUT)/%.o,$(filter-out %_test.c,$(sort $(wildcard tests/sim/*.c))))
FUZZ     := $(sort $(wildcard tests/fuzz/fuzz_*.c))
REPLAY   := $(FUZZ:tests/fuzz/%.c=$(OUT)/replay/%)

# Lua and libosip2 go into the object. Debian's archives name stdin, stdout and stderr, which is all that keeps them from being
# position independent: module/stdio.c has the variables that these references are renamed to.
SO_LIBS  := -l:liblua5.4.a -l:libosipparser2.a -lwslay -lcurl -lcares -lssl -lcrypto -lm -pthread
SO_FLAGS := -shared -Wl,--wrap=stdin,--wrap=stdout,--wrap=stderr,--wrap=luaT_tryconcatTM -Wl,--exclude-libs,ALL -Wl,-Bsymbolic -Wl,-z,nodelete \
	    -Wl,-z,relro,-z,now

VERSION  := $(shell sed -n 's/.*SIPHOOK_VERSION *"\(.*\)".*/\1/p' module/siphook.h)

PACKAGES := build-essential pkg-config liblua5.4-dev libosip2-dev libssl-dev libwslay-dev libjansson-dev libcurl4-openssl-dev libc-ares-dev libcmocka-dev
# The sanitizers and fuzzers.
CLANG_PACKAGES := clang libclang-rt-dev
TEST_PACKAGES := $(CLANG_PACKAGES) nginx nginx-dev libnginx-mod-http-lua redis-server redis-tools apache2 apache2-dev postgresql-15 postgresql-server-dev-15 mosquitto mosquitto-dev libmosquitto-dev mosquitto-clients python3 sip-tester sipvicious baresip-core linphone-cli iproute2 util-linux valgrind openssl chromium
# Whoever has npm from elsewhere keeps it.
TEST_PACKAGES += $(if $(shell command -v npm),,nodejs npm)
LINT_PACKAGES := cppcheck clang-tidy shellcheck lua-check

.PHONY: all dialplans deps test-deps clang-deps lib object test unit memcheck explore replay check asan tsan torture fuzz lint coverage abi hosts install-hosts test-hosts deb interop browser bench bench-report perf-check perf-record soak demo install uninstall clean FORCE
.DEFAULT_GOAL := all
.SECONDARY:

all: object

# ---------------------------------------------------------------- what the build needs

# RUNLEVEL=1: a server that is installed for the tests is not started as a service.
deps:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done | tr '\n' ' '); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $$missing"; apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "missing packages; as root, type:"; echo "    apt-get install $$missing"; exit 1; fi

test-deps:
	@$(MAKE) --no-print-directory deps PACKAGES="$(PACKAGES) $(TEST_PACKAGES)"

clang-deps:
	@$(MAKE) --no-print-directory deps PACKAGES="$(PACKAGES) $(CLANG_PACKAGES)"

# ---------------------------------------------------------------- the library's objects

lib: $(OBJS)

# Other flags than those of the last time: everything is compiled anew.
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(HOT_$(VARIANT))' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(HOT_$(VARIANT))' >$@

$(OUT)/module/%.o: module/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(if $(filter $(HOT),$(firstword $(subst /, ,$*))),$(HOT_$(VARIANT))) -c -o $@ $<

# The test library in Lua is part of the object.
$(OUT)/module/trial/library.o: $(wildcard lua/siphook/*.lua)

# ---------------------------------------------------------------- the object and the command

# The release variant is what build/siphook.so and build/siphook are; the others stay in their folders.
object: $(OUT)/siphook.so $(OUT)/siphook $(if $(filter release,$(VARIANT)),$(BUILD)/siphook.so $(BUILD)/siphook)

$(OUT)/siphook.so: $(OBJS) $(ENTRY)
	$(Q)$(CC) $(CFLAGS) $(SO_FLAGS) -o $@ $^ $(SO_LIBS)

$(OUT)/siphook: $(TOOL) $(LINK_$(VARIANT))
	$(Q)$(CC) $(CFLAGS) -o $@ $^ -ljansson -ldl -pthread

# By rename: a process that has the old file loaded keeps it. Compared, because another compiler's may be the newer file.
$(BUILD)/siphook.so $(BUILD)/siphook: $(BUILD)/%: $(OUT)/% FORCE
	@cmp -s $< $@ || { cp $< $@.new && mv -f $@.new $@; }

FORCE:

# What leaves the object and what it takes from OpenSSL; the public header alone, as C99, C11 and C++17; who includes whom.
abi: object
	@CC="$(CC)" sh tests/hosts/abi.sh $(OUT)/siphook.so
	@sh tests/layers.sh

# Adapters for servers that people run already (examples/hosts/): each where Debian's header for it is installed. Redis needs none.
# Those of the release variant are build/hosts/.
HOSTS_OUT   := $(if $(filter release,$(VARIANT)),$(BUILD)/hosts,$(OUT)/hosts)
NGINX       := /usr/share/nginx/src
PG_INCLUDE  := /usr/include/postgresql/15/server
PG_SHARE    := /usr/share/postgresql/15/extension
HOSTS       := siphook_redis.so $(if $(wildcard /usr/include/mosquitto_plugin.h),siphook_mosquitto.so) \
	       $(if $(wildcard /usr/include/apache2/httpd.h),mod_siphook.so) $(if $(wildcard $(PG_INCLUDE)/postgres.h),siphook_postgresql.so) \
	       $(if $(wildcard $(NGINX)/configure),ngx_siphook_module.so)
HOST_FLAGS   = -std=gnu11 -D_GNU_SOURCE -g -fPIC -shared -fvisibility=hidden -pthread $(FLAGS_$(VARIANT)) -Wall -Wextra -Werror -Imodule \
	       -DSIPHOOK_SO='"$(PREFIX)/lib/siphook/siphook.so"'
hosts: $(HOSTS:%=$(HOSTS_OUT)/%)

$(HOSTS_OUT)/siphook_%.so: examples/hosts/%/siphook_*.c $(wildcard examples/hosts/*.h) module/siphook.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_FLAGS) $(HOST_FLAGS_$*) -o $@ $<

HOST_FLAGS_postgresql := -isystem $(PG_INCLUDE)

$(HOSTS_OUT)/mod_siphook.so: examples/hosts/apache/mod_siphook.c $(wildcard examples/hosts/*.h) module/siphook.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_FLAGS) -isystem /usr/include/apache2 -isystem /usr/include/apr-1.0 -o $@ $<

# nginx's own configure, with Debian's options, finds out what the headers need to know and what the module's signature is made of.
$(BUILD)/nginx/objs/ngx_auto_config.h: $(NGINX)/conf_flags
	@mkdir -p $(BUILD)/nginx
	@ln -sf $(NGINX)/auto $(NGINX)/src $(NGINX)/configure $(BUILD)/nginx/
	$(Q)cd $(BUILD)/nginx && bash -c '. $(NGINX)/conf_flags && ./configure "$${NGX_CONF_FLAGS[@]}"' >configure.log || { tail $(BUILD)/nginx/configure.log; exit 1; }

NGINX_FLAGS := -D_FILE_OFFSET_BITS=64 $(addprefix -isystem $(NGINX)/src/,core event event/modules os/unix http http/modules http/v2) -isystem $(BUILD)/nginx/objs
$(HOSTS_OUT)/ngx_siphook_module.so: $(wildcard examples/hosts/nginx/*.[ch]) $(wildcard examples/hosts/*.h) module/siphook.h \
		$(BUILD)/nginx/objs/ngx_auto_config.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_FLAGS) $(NGINX_FLAGS) -o $@ $(wildcard examples/hosts/nginx/*.c)

install-hosts: hosts
	install -d $(DESTDIR)$(PREFIX)/lib/siphook
	install -m 644 $(HOSTS:%=$(HOSTS_OUT)/%) $(DESTDIR)$(PREFIX)/lib/siphook/
ifneq ($(filter siphook_postgresql.so,$(HOSTS)),)
	install -d $(DESTDIR)$(PG_SHARE)
	install -m 644 examples/hosts/postgresql/siphook--1.0.sql $(DESTDIR)$(PG_SHARE)/
	sed 's|@libdir@|$(PREFIX)/lib/siphook|' examples/hosts/postgresql/siphook.control >$(DESTDIR)$(PG_SHARE)/siphook.control
endif

# The object in processes that are not ours.
test-hosts: test-deps
	@$(MAKE) --no-print-directory object hosts
	@CC="$(CC)" FLAGS="$(filter -fsanitize=%,$(CFLAGS))" sh tests/hosts/run.sh $(OUT) $(HOSTS_OUT)

# A Debian package of all this: build/siphook_VERSION_ARCH.deb.
deb: object hosts
	@sh packaging/deb.sh $(BUILD)

# Four workers behind one address, most messages at the wrong one: make CC=clang VARIANT=tsan workers.
.PHONY: workers
workers: object
	@sh tests/hosts/workers.sh $(OUT)

# SIPp and real phones, in a network namespace.
interop: object
	@sh tests/interop/run.sh $(OUT)

# JsSIP and SIP.js in Chromium, which call each other and baresip.
browser: object
	@sh tests/browser/run.sh $(OUT)

# What the parts of a call cost, in instructions under callgrind and in bytes, against those on record. A growth by more than 3 % fails;
# perf-record writes the record anew: in a commit that says why.
comma := ,
COUNTED := $(addprefix -Wl$(comma)--wrap=sh_,malloc calloc realloc free pool_alloc pool_calloc pool_realloc pool_free)
$(OUT)/bench/micro: tests/bench/micro.c tests/bench/memory.c tests/bench/memory.h $(SIM_OBJS) $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests/sim $(COUNTED) -o $@ $(filter %.c,$^) $(SIM_OBJS) $(ARCHIVE) $(LDLIBS) -lcmocka

perf-check perf-record: test-deps
	@$(MAKE) --no-print-directory CC=gcc VARIANT=release $(BUILD)/release-gcc/bench/micro $(BUILD)/release-gcc/tests/script_gc_test object
	@$(BUILD)/release-gcc/tests/script_gc_test
	@sh tests/bench/micro.sh $@ $(BUILD)/release-gcc/bench/micro

# What a call costs, beside Kamailio where it is installed (twenty minutes; QUICK=1 eight; ROW="call register": only these).
bench: test-deps
	@$(MAKE) --no-print-directory object
	@python3 tests/bench/bench.py $(ROW)

# Puts what bench has measured into docs/performance.md and docs/performance.svg.
bench-report:
	@python3 tests/bench/report.py

soak: clang-deps
	@$(MAKE) --no-print-directory object
	@sh tests/bench/soak.sh
	@$(MAKE) --no-print-directory CC=gcc explore SEEDS=100000
	@RELOADS=10000 IDLE=5000 python3 -B tests/interop/secure.py $(OUT)
	@$(MAKE) --no-print-directory CC=clang VARIANT=asan dialplans TIME=600
	@$(MAKE) --no-print-directory fuzz TIME=600
	@$(MAKE) --no-print-directory CC=clang torture

DEMO := examples/dialplans/office.lua
demo: deps
	@$(MAKE) --no-print-directory object
	@addr=$$(hostname -I 2>/dev/null | cut -d' ' -f1); addr=$${addr:-127.0.0.1}; \
	echo; echo "Register two phones (UDP or TCP, port 5060):"; \
	echo "    user alice  password wonder   domain and server $$addr"; \
	echo "    user bob    password builder  domain and server $$addr"; \
	echo "Then let alice dial \"bob\". The dial plan is $(DEMO); after a change: $(BUILD)/siphook reload"; \
	echo "Ctrl-C ends it."; echo; \
	exec $(BUILD)/siphook run -l udp://0.0.0.0:5060 -l tcp://0.0.0.0:5060 $(DEMO)

# The pages and examples lie to each other as they do here, so that their links lead somewhere: share/doc/siphook has README.md and
# docs/, share/siphook has examples/ and lua/, and each has a link to what is in the other.
SHARE := $(DESTDIR)$(PREFIX)/share
install: object
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/siphook $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/siphook $(DESTDIR)$(PREFIX)/bin/siphook
	install -m 644 $(BUILD)/siphook.so $(DESTDIR)$(PREFIX)/lib/siphook/siphook.so
	install -m 644 module/siphook.h $(DESTDIR)$(PREFIX)/include/siphook.h
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(SHARE)/man/man1 $(SHARE)/man/man5 $(DESTDIR)$(PREFIX)/lib/systemd/system \
		$(SHARE)/bash-completion/completions
	sed -e 's|@prefix@|$(PREFIX)|' -e 's|@version@|$(VERSION)|' packaging/siphook.pc >$(DESTDIR)$(PREFIX)/lib/pkgconfig/siphook.pc
	sed 's|@bindir@|$(PREFIX)/bin|' packaging/siphook.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/siphook.service
	install -m 644 packaging/siphook.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/siphook.socket
	install -m 644 packaging/siphook.1 $(SHARE)/man/man1/siphook.1
	install -m 644 packaging/siphook.conf.5 $(SHARE)/man/man5/siphook.conf.5
	install -m 644 packaging/siphook.bash $(SHARE)/bash-completion/completions/siphook
	install -d $(SHARE)/doc/siphook/docs/lua $(SHARE)/siphook/examples $(SHARE)/siphook/lua
	install -m 644 README.md CHANGELOG.md LICENSE $(SHARE)/doc/siphook/
	install -m 644 $(wildcard docs/*.md docs/*.svg) $(SHARE)/doc/siphook/docs/
	install -m 644 $(wildcard docs/lua/*.md) $(SHARE)/doc/siphook/docs/lua/
	cp -R examples/. $(SHARE)/siphook/examples/
	install -m 644 lua/*.d.lua lua/siphook.luacheckrc $(SHARE)/siphook/lua/
	ln -sfn ../../siphook/examples $(SHARE)/doc/siphook/examples
	ln -sfn ../doc/siphook/docs $(SHARE)/siphook/docs
	ln -sfn ../doc/siphook/README.md $(SHARE)/siphook/README.md

# What install has put there, with what was changed in its folders.
uninstall:
	rm -rf $(SHARE)/doc/siphook $(SHARE)/siphook $(DESTDIR)$(PREFIX)/lib/siphook
	rm -f $(DESTDIR)$(PREFIX)/bin/siphook $(DESTDIR)$(PREFIX)/include/siphook.h $(DESTDIR)$(PREFIX)/lib/pkgconfig/siphook.pc \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/siphook.service $(DESTDIR)$(PREFIX)/lib/systemd/system/siphook.socket \
		$(SHARE)/man/man1/siphook.1 $(SHARE)/man/man5/siphook.conf.5 $(SHARE)/bash-completion/completions/siphook

# ---------------------------------------------------------------- tests

$(ARCHIVE): $(OBJS)
	@rm -f $@
	@ar rcs $@ $^

$(OUT)/tests/sim/%.o: tests/sim/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests/sim -Itests/unit -c -o $@ $<

$(OUT)/tests/sanitizer/%.o: tests/sanitizer/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$(OUT)/tests/%: tests/unit/%.c $(ARCHIVE) $(LINK_$(VARIANT))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests/unit -o $@ $< $(LINK_$(VARIANT)) $(ARCHIVE) $(LDLIBS) -lcmocka

$(OUT)/tests/%: tests/sim/%.c $(SIM_OBJS) $(ARCHIVE) $(LINK_$(VARIANT))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests/sim -Itests/unit -o $@ $< $(SIM_OBJS) $(LINK_$(VARIANT)) $(ARCHIVE) $(LDLIBS) -lcmocka

$(OUT)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< tests/fuzz/replay.c $(ARCHIVE) $(LDLIBS)

unit: $(TEST_BIN) $(REPLAY)
	@sh tests/run.sh $(OUT)

# The race explorer on other seeds than the tests: make explore SEEDS=10000 SEED=1. A failure prints its ladder and its seed.
SEEDS ?= 10000
SEED  ?= $(shell date +%s)
explore: deps
	@$(MAKE) --no-print-directory VARIANT=test build/test-$(notdir $(firstword $(CC)))/tests/b2bua_explore_test
	@SEEDS=$(SEEDS) SEED=$(SEED) build/test-$(notdir $(firstword $(CC)))/tests/b2bua_explore_test

test: test-deps
	@$(MAKE) --no-print-directory VARIANT=test unit

asan: clang-deps
	@$(MAKE) --no-print-directory VARIANT=asan unit

tsan: clang-deps
	@$(MAKE) --no-print-directory VARIANT=tsan unit

# Rare things made frequent, under the address sanitizer: all Lua garbage is collected whenever a script enters the API,
# streams of the virtual network come byte by byte.
torture: clang-deps
	@$(MAKE) --no-print-directory VARIANT=torture unit

# Reads of memory that nobody wrote, which the sanitizers do not see: a chosen few under valgrind.
MEMCHECK := msg_scan msg_uri registrar_register script_value transport_stream txn_server b2bua_basic b2bua_cancel
memcheck: test-deps
	@$(MAKE) --no-print-directory CC=gcc VARIANT=test $(MEMCHECK:%=$(BUILD)/test-gcc/tests/%_test)
	@for t in $(MEMCHECK); do valgrind -q --error-exitcode=9 $(BUILD)/test-gcc/tests/$${t}_test || exit 1; done

check: test-deps
	@sh tests/check.sh

$(OUT)/fuzz/%: tests/fuzz/%.c $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(ARCHIVE) $(LDLIBS)

# Bounded fuzzing with libFuzzer: make fuzz TIME=60
TIME ?= 20
fuzz: clang-deps
	@$(MAKE) --no-print-directory CC=clang VARIANT=fuzz $(FUZZ:tests/fuzz/%.c=$(BUILD)/fuzz-clang/fuzz/%)
	@for f in $(FUZZ); do n=$$(basename $$f .c); mkdir -p $(BUILD)/fuzz/$$n; echo "== $$n"; \
	$(BUILD)/fuzz-clang/fuzz/$$n -max_total_time=$(TIME) -max_len=65535 -verbosity=0 -print_final_stats=0 $(BUILD)/fuzz/$$n tests/fuzz/corpus/$$n || exit 1; done

# Random dial plans with reloads, hang-ups and cancels between any two events, from a fresh seed.
dialplans: $(OUT)/tests/script_fuzz_test
	@FUZZ_SECONDS=$(TIME) FUZZ_SEED=$${SEED:-$$(date +%s)} $<

lint:
	@$(MAKE) --no-print-directory deps PACKAGES="$(PACKAGES) $(LINT_PACKAGES)"
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -Imodule --suppress=normalCheckLevelMaxBranches \
		--suppress=comparePointers:module/trial/library.c module
	shellcheck -S warning $(shell git ls-files '*.sh' .ci/run)
	luacheck --quiet $(shell git ls-files '*.lua')
	clang-tidy --quiet $(wildcard module/*.c) $(SRCS) $(wildcard module/tool/*.c) -- -std=gnu11 -D_GNU_SOURCE -Imodule $(LUA_CF)

# Which lines of module/ the unit and simulation tests reach: a table, and build/coverage/index.html line by line. That every
# state of the transaction machines meets every event is what tests/sim/txn_server_test.c and txn_client_test.c have tables for.
coverage:
	@$(MAKE) --no-print-directory deps PACKAGES="$(PACKAGES) gcovr"
	@find $(BUILD) -path '*coverage-gcc*' -name '*.gcda' -delete 2>/dev/null; mkdir -p $(BUILD)/coverage
	@$(MAKE) --no-print-directory CC=gcc VARIANT=coverage unit
	@gcovr --root . --filter module/ --object-directory $(BUILD)/coverage-gcc --html-details $(BUILD)/coverage/index.html $(BUILD)/coverage-gcc

clean:
	rm -rf $(BUILD)

-include $(OBJS:.o=.d) $(ENTRY:.o=.d) $(TOOL:.o=.d) $(SIM_OBJS:.o=.d) $(TEST_BIN:=.d)
