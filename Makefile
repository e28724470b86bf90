# What a person types; the work is done by cargo and by the files in scripts/.

CARGO ?= cargo
# Whole-program tests have many processes each: more threads than cores only makes them slow.
THREADS ?= 2

NEED := scripts/need
# MIT's Kerberos, and libclang to read its headers.
KERBEROS_NEEDS := /usr/include/gssapi/gssapi.h=libkrb5-dev /usr/lib/llvm-*/lib/libclang.so*=libclang-dev
BUILD_NEEDS := cc=gcc,libc6-dev curl=curl $(KERBEROS_NEEDS)
# A throw-away Kerberos realm.
REALM_NEEDS := krb5kdc=krb5-kdc kadmin.local=krb5-admin-server kinit=krb5-user
TEST_NEEDS := $(BUILD_NEEDS) socksify=dante-client danted=dante-server microsocks=microsocks \
	proxychains4=proxychains4 ncat=ncat nc=netcat-openbsd ip=iproute2 setpriv=util-linux \
	tnftp=tnftp /usr/lib/python3/dist-packages/pyftpdlib/__init__.py=python3-pyftpdlib \
	$(REALM_NEEDS) gss-client=krb5-gss-samples faketime=faketime ssh=openssh-client \
	promtool=prometheus dnsmasq=dnsmasq-base drill=ldnsutils haproxy=haproxy logrotate=logrotate \
	/usr/share/zoneinfo/Europe/Berlin=tzdata \
	systemd-analyze=systemd strace=strace man=man-db mandoc=mandoc zsh=zsh fish=fish openssl=openssl script=bsdutils \
	chromium=chromium chromedriver=chromium-driver valgrind=valgrind
DEB_NEEDS := dpkg-shlibdeps=dpkg-dev strip=binutils
PICTURE_NEEDS := /usr/share/fonts/*/inter*=fonts-inter pngquant=pngquant
LONG_NEEDS := $(DEB_NEEDS) lintian=lintian debootstrap=debootstrap

# Only the files with long tests are built for them: optimizing all takes minutes.
LONG_TESTS = $(patsubst tests/tests/%.rs,--test %,$(shell grep -l 'ignore = "long' tests/tests/*.rs))

.DEFAULT_GOAL := help
.PHONY: help run build deb manual test test-long bench bench-check need-build need-run need-test need-long

help: ## Lists what can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

need-build:
	@scripts/need-rust $(CARGO)
	@$(NEED) $(BUILD_NEEDS)

need-run: need-build
	@$(NEED) $(REALM_NEEDS)

need-test: need-build
	@$(NEED) $(TEST_NEEDS)

need-long: need-test
	@$(NEED) $(LONG_NEEDS)

# In one call: apart from each other, the programs would have their dependencies built several times.
build: need-build ## Builds the programs for use: target/release/socksd, socks-forward and others.
	$(CARGO) build --release --locked -p socksd -p socks-client -p krb-testenv -p tests \
		--bin socksd --bin socks-forward --bin krb-testenv --bin demo-web --bin operations

OUT = $(or $(CARGO_TARGET_DIR),target)

manual: build ## Writes manual pages and shell completions: target/manual.
	$(OUT)/release/socksd --write-manual $(OUT)/manual
	$(OUT)/release/socks-forward --write-manual $(OUT)/manual

deb: build ## Makes Debian packages of the gateway and of socks-forward: target/debian.
	@$(NEED) $(DEB_NEEDS)
	scripts/deb $(OUT)/release $(OUT)/debian

# Debian's own is without GSSAPI. This one comes into a cache outside the tree.
.PHONY: dante
dante: need-build ## Builds Dante with GSSAPI for the tests, once: about a minute.
	@$(NEED) make=make xz=xz-utils
	@scripts/dante

run: need-run build ## Starts the gateway and a throw-away Kerberos realm, and prints lines to try.
	@scripts/run

# Whole-program tests run against the program as it is shipped, so it is built first.
test: need-test dante build ## Runs every test, with bounded copies of the long ones.
	$(CARGO) test --locked --workspace --exclude tests
	SOCKSD_TEST_PROFILE=release $(CARGO) test --locked -p tests -- --test-threads=$(THREADS)

test-long: need-long dante build ## Runs what takes long: large loads, soaks, and a round of each benchmark.
	SOCKSD_TEST_PROFILE=release $(CARGO) test --locked --release -p tests $(LONG_TESTS) -- --ignored --test-threads=1
	$(COMPARE_BUILD)
	$(COMPARE) --quick

.PHONY: baselines
baselines: need-test build ## Measures anew what the tests hold decoding, deciding, sealing and opening to.
	SOCKSD_WRITE_BASELINES=yes $(CARGO) test --locked --release -p tests --test instructions --test engine -- \
		--include-ignored

.PHONY: screenshots
screenshots: need-test build ## Makes the pictures of the admin page anew: docs/images.
	@$(NEED) $(PICTURE_NEEDS)
	SOCKSD_TEST_PROFILE=release $(CARGO) test --locked -p tests --test screenshots -- --ignored

# In one call with the programs, so that their dependencies are not built once more.
COMPARE_BUILD = $(CARGO) build --release --locked -p socksd -p socks-client -p krb-testenv -p tests \
	--bin socksd --bin splice-relay --bin compare
COMPARE = $(OUT)/release/compare $(BENCH)

bench: need-test dante build ## Measures the gateway beside other SOCKS servers: half an hour; docs/performance.md.
	$(COMPARE_BUILD)
	$(COMPARE)

bench-check: need-test dante build ## As bench, and fails when a bound is missed; for a quiet machine.
	$(COMPARE_BUILD)
	$(COMPARE) --check

.PHONY: bench-pictures
bench-pictures: need-test dante build ## As bench, and makes the pictures and tables of docs/performance.md anew.
	$(COMPARE_BUILD)
	$(COMPARE) --pictures docs
