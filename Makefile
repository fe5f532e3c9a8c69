# siphook: `make` builds, `make test` checks, `make demo` runs. Everything that is made goes to build/.
# VARIANT selects flags and a folder of its own: release (default), test, asan, tsan.

CC       ?= gcc
PREFIX   ?= /usr/local
VARIANT  ?= release
BUILD    := build
OUT      := $(BUILD)/$(VARIANT)-$(notdir $(firstword $(CC)))

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Werror
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2
LUA_CF   := $(shell pkg-config --cflags lua5.4 2>/dev/null)
BASE     := -std=gnu11 -D_GNU_SOURCE -g -fPIC -fvisibility=hidden -pthread -MMD -MP -Imodule $(LUA_CF) $(WARN)

FLAGS_release := -O2 $(HARDEN)
FLAGS_test    := -O1 -DSH_ALLOC_FAULTS
FLAGS_asan    := -O1 -DSH_ALLOC_FAULTS -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -DSH_ALLOC_FAULTS -fsanitize=thread
CFLAGS   += $(BASE) $(FLAGS_$(VARIANT))
LDLIBS   := -llua5.4 -losipparser2 -lcrypto -lm -pthread

SRCS     := $(sort $(wildcard module/*.c module/*/*.c module/drivers/*/*.c))
SRCS     := $(filter-out module/tool/%,$(SRCS))
OBJS     := $(SRCS:module/%.c=$(OUT)/module/%.o)
TESTS    := $(sort $(wildcard tests/unit/*_test.c))
TEST_BIN := $(TESTS:tests/unit/%.c=$(OUT)/tests/%)
FUZZ     := $(sort $(wildcard tests/fuzz/fuzz_*.c))
REPLAY   := $(FUZZ:tests/fuzz/%.c=$(OUT)/replay/%)

PACKAGES := build-essential clang libclang-rt-14-dev pkg-config liblua5.4-dev libosip2-dev libssl-dev libcmocka-dev

.PHONY: all deps lib test unit replay check asan tsan clang fuzz format lint clean
.DEFAULT_GOAL := all

all: lib

# ---------------------------------------------------------------- what the build needs

deps:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done | tr '\n' ' '); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "missing packages; as root, type:"; echo "    apt-get install $$missing"; exit 1; fi

# ---------------------------------------------------------------- the library's objects

lib: $(OBJS)

$(OUT)/module/%.o: module/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

# ---------------------------------------------------------------- tests

$(OUT)/tests/%: tests/unit/%.c $(OBJS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests/unit -o $@ $< $(OBJS) $(LDLIBS) -lcmocka

$(OUT)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c $(OBJS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $< tests/fuzz/replay.c $(OBJS) $(LDLIBS)

unit: $(TEST_BIN) $(REPLAY)
	@sh tests/run.sh $(OUT)

test: deps
	@$(MAKE) --no-print-directory VARIANT=test unit

asan: deps
	@$(MAKE) --no-print-directory VARIANT=asan unit

tsan: deps
	@$(MAKE) --no-print-directory VARIANT=tsan unit

check: deps
	@sh tests/check.sh

# Bounded fuzzing with libFuzzer: make fuzz TIME=60
TIME ?= 20
fuzz: deps
	@for f in $(FUZZ); do n=$$(basename $$f .c); mkdir -p $(BUILD)/fuzz/$$n; echo "== $$n"; \
	clang $(filter-out -MMD -MP,$(BASE)) -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $(BUILD)/fuzz/$$n.bin $$f $(filter-out module/drivers/%,$(wildcard module/core/*.c module/msg/*.c)) $(LDLIBS) && \
	$(BUILD)/fuzz/$$n.bin -max_total_time=$(TIME) -max_len=65535 -verbosity=0 -print_final_stats=0 $(BUILD)/fuzz/$$n tests/fuzz/corpus/$$n || exit 1; done

format:
	clang-format -i $(SRCS) $(wildcard module/*/*.h module/*.h)

lint:
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -Imodule --suppress=normalCheckLevelMaxBranches module

clean:
	rm -rf $(BUILD)

-include $(OBJS:.o=.d) $(TEST_BIN:=.d)
