# signalbox: `make help` lists the targets. One page; everything is built below $(B).

B       ?= build
LLHTTP  := build/deps/llhttp
Q       := $(if $(V),,@)                # V=1 shows the commands
CC      ?= gcc
CXX     ?= g++
OPT     ?= -O3
SAN     ?=
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2 \
           -Wcast-qual -Wwrite-strings -Wdouble-promotion -fno-common
ifneq (,$(findstring clang,$(CC)))          # its NAN is a float; its taste in strings differs
WARN    += -Wno-double-promotion -Wno-string-concatenation
endif
CFLAGS  := -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) -fno-plt -fstack-protector-strong -fno-omit-frame-pointer \
           -MMD -MP -Isrc -I$(LLHTTP) $(SAN) $(CFLAGS_EXTRA)
CXXFLAGS := -std=c++17 $(OPT) -g -Wall -Wextra -MMD -MP -Isrc $(SAN)
LDLIBS  := -lyaml -lre2 -lutf8proc -lnghttp2 -lssl -lcrypto -lsqlite3 -lz -lzstd -l:libboost_context.a -lpthread -lm -lstdc++
LDFLAGS := $(SAN)

# The binary is optimised as a whole; objects stay usable without, so that linking a test takes no time.
ifeq ($(SAN)$(findstring clang,$(CC)),)
LTO     := -flto=auto -ffat-lto-objects
LTOLINK := -flto=auto $(OPT)
CFLAGS  += $(LTO)
endif

YYJSON  := build/deps/yyjson

SRC     := $(filter-out src/main.c,$(wildcard src/*/*.c))
SHIM    := $(wildcard src/*/*.cc)
ASM     := $(wildcard src/*/*.S)
OBJ     := $(SRC:src/%.c=$(B)/obj/%.o) $(SHIM:src/%.cc=$(B)/obj/%.o) $(ASM:src/%.S=$(B)/obj/%.S.o) \
           $(patsubst $(LLHTTP)/%.c,$(B)/obj/llhttp/%.o,$(LLHTTP)/api.c $(LLHTTP)/http.c $(LLHTTP)/llhttp.c)
UNIT    := $(wildcard tests/unit/*/test_*.c)
UNITBIN := $(UNIT:tests/unit/%.c=$(B)/unit/%)

.PHONY: all run test unit asan tsan fuzz bench bench-encoder bench-signals bench-peers bench-soak bench-soak-neural clean help deps install layers
all: $(B)/signalbox $(B)/mockllm          ## build the binary (build/signalbox)

run: deps                                 ## install what is missing, build, serve on 127.0.0.1:8899
	@$(MAKE) --no-print-directory all
	@exec $(B)/signalbox serve

deps:                                     ## install Debian packages and fetch the pinned sources
	@tools/deps

test: deps                                ## install what is missing, build, run every test
	@$(MAKE) --no-print-directory all
	@tools/test

unit: $(UNITBIN) $(B)/signalbox           ## unit tests only
	@tools/run-unit $(UNITBIN)

$(B)/signalbox: $(B)/obj/main.o $(B)/libsignalbox.a
	@echo "  LINK  $@"
	$(Q)$(CXX) $(LDFLAGS) $(LTOLINK) -o $@ $< -Wl,--whole-archive $(B)/libsignalbox.a -Wl,--no-whole-archive $(LDLIBS)

$(B)/libsignalbox.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $(OBJ)

$(B)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$(B)/obj/%.o: src/%.cc
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	$(Q)$(CXX) $(CXXFLAGS) -c -o $@ $<

$(B)/obj/%.S.o: src/%.S
	@mkdir -p $(@D)
	$(Q)$(CC) -Isrc -MMD -MP -c -o $@ $<

$(B)/obj/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(OPT) -g $(SAN) -I$(LLHTTP) -c -o $@ $<

$(LLHTTP)/api.c $(LLHTTP)/http.c $(LLHTTP)/llhttp.c $(LLHTTP)/llhttp.h:
	@tools/deps sources

$(OBJ): | $(LLHTTP)/llhttp.h

$(B)/mockllm: tools/mockllm.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) $(SAN) -o $@ $< -lssl -lcrypto -lpthread

$(B)/loadgen: tools/loadgen.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) $(SAN) -o $@ $<

bench: deps                               ## CPU, latency, memory, side by side with nginx
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/loadgen
	@python3 tests/bench/bench.py $(BENCH_ARGS)

bench-peers: deps                         ## install LiteLLM and Portkey, measure them and us in one run
	@tools/deps peers
	@$(MAKE) --no-print-directory all $(B)/loadgen
	@python3 tests/bench/peers.py $(BENCH_ARGS)

bench-encoder: deps                       ## the encoder and tokenizer, side by side with ONNX Runtime
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/loadgen
	@python3 tests/bench/encoder.py $(BENCH_ARGS)

bench-signals: deps                       ## every neural signal on every request; neural calls that lazy routing avoids
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/loadgen
	@python3 tests/bench/signals.py $(BENCH_ARGS)
	@python3 tests/bench/avoided.py

bench-soak: deps                          ## ten minutes of mixed load, resident memory over time
	@$(MAKE) --no-print-directory all $(B)/loadgen
	@python3 tests/bench/soak.py $(BENCH_ARGS)

bench-soak-neural: deps                   ## twelve minutes of every neural signal, with reloads, deadlines and callers that leave
	@tools/deps bench
	@$(MAKE) --no-print-directory all
	@python3 tests/bench/soak_neural.py $(BENCH_ARGS)

$(B)/unit/%: tests/unit/%.c $(B)/libsignalbox.a
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) -fno-lto -Itests $(LDFLAGS) -o $@ $< $(B)/libsignalbox.a -lcmocka -lcjose $(LDLIBS)

$(B)/tests/%: tests/%.c $(B)/libsignalbox.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fno-lto $(LDFLAGS) -o $@ $< $(B)/libsignalbox.a $(LDLIBS)

asan:                                     ## the unit and end-to-end tests under ASan + UBSan
	@$(MAKE) --no-print-directory B=$(B)/asan OPT=-O1 \
	    SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined" all unit

tsan:                                     ## the runtime tests under TSan
	@$(MAKE) --no-print-directory B=$(B)/tsan OPT=-O1 SAN="-fsanitize=thread" all unit

fuzz: deps                                ## look for new inputs that break a parser, ten minutes each
	@tools/deps test
	@tools/run-fuzz 600

clean:                                    ## remove what was built (not the fetched sources)
	rm -rf $(B)/obj $(B)/unit $(B)/asan $(B)/tsan $(B)/fuzz $(B)/signalbox $(B)/mockllm $(B)/libsignalbox.a

layers:                                   ## check the layer rule over #include lines
	@tools/layers

help:                                     ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1|/' | column -t -s'|'

-include $(OBJ:.o=.d) $(B)/obj/main.d $(UNITBIN:%=%.d)

$(B)/obj/signal/langid.o: src/signal/langid_table.bin
$(B)/obj/signal/pii_names.o: src/signal/pii_names.bin
$(B)/obj/signal/langid.o $(B)/obj/signal/pii_names.o: CFLAGS += -fno-lto     # they include files, from a folder the linker does not know
