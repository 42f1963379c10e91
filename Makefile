# Prerequisites on Debian: apt install python3-venv make
#
#   make demo     install into .venv, run a real job, kill the daemon half-way, show that nothing was lost
#   make test     ruff, mypy and all tests                          make test ARGS='-k stop -x' WORKERS=0
#   make fault    all campaigns, in full                            make fault FAULT=F1 SEED=7 SIZE=300
#   make soak     everything at once for 20 minutes: what grows?    make soak MINUTES=240
#   make bench    the figures, each beside its yardstick            make bench BENCH=start_stop PLOTS=DIR
#   make peers    the supervisors that jobd is measured beside, if you are root; circus into build/peers
#   make tools    what some tests and all benchmarks can use, if you are root: gcc, mandoc, shells, shellcheck, strace
#   make install  into PREFIX (default ~/.local), with man pages and completion; make uninstall
#   make install-system    for a whole machine, started by systemd, as root: PREFIX (default /usr/local), DESTDIR
#   make uninstall-system  takes that away again, but no state and no configuration

PYTHON ?= python3
PREFIX ?= $(HOME)/.local
FAULT ?=
SEED ?=
SIZE ?=
MINUTES ?=
BENCH ?=
PLOTS ?=
ARGS ?=
# Processes that the tests are shared among, file by file; 0: none but pytest's own, as a debugger needs it. Half of
# the time of one goes by in waiting for what it has started. More of them disturb what is measured.
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint fault soak bench peers tools install uninstall install-system uninstall-system clean

# The stamps are what make a second `make test` quick: an environment is made anew only when its recipe changes.
$(VENV)/.made: pyproject.toml jobd/__init__.py scripts/jobctl scripts/jobd-stdio-bridge scripts/isolate
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	scripts/isolate $(VENV)/bin/jobctl $(VENV)/bin/jobd $(VENV)/bin/jobd-stdio-bridge
	$(RUN) -m compileall -q jobd jobctl  # pip does not for an editable install, and jobctl would compile at every call
	@touch $@

$(VENV)/.tests: $(VENV)/.made
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	scripts/isolate $(VENV)/bin/jobctl $(VENV)/bin/jobd $(VENV)/bin/jobd-stdio-bridge
	@touch $@

$(VENV)/.plots: $(VENV)/.tests
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	scripts/isolate $(VENV)/bin/jobctl $(VENV)/bin/jobd $(VENV)/bin/jobd-stdio-bridge
	@touch $@

demo: $(VENV)/.made
	$(RUN) scripts/demo

# In a directory of its own: pytest also clears up what earlier runs have left, and fails by what it cannot remove, such
# as a file system that an interrupted test had mounted. It stays when a test has failed.
test: $(if $(CI),tools) lint
	@tmp=$$(mktemp -d /tmp/jobd.XXXXXX) && chmod 755 $$tmp && \
	if PYTEST_DEBUG_TEMPROOT=$$tmp $(RUN) -m pytest -n $(WORKERS) --dist loadfile $(ARGS); then rm -rf $$tmp; \
	else status=$$?; echo "what the tests have left is in $$tmp"; exit $$status; fi

lint: $(VENV)/.tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check --quiet .
	$(RUN) -m mypy

fault: $(VENV)/.tests
	$(RUN) -m tests.fault $(FAULT) $(if $(SIZE),--size $(SIZE)) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.tests
	$(RUN) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.tests $(if $(PLOTS),$(VENV)/.plots)
	$(RUN) -m compileall -q jobd jobctl
	$(RUN) -m tests.bench $(BENCH) $(if $(PLOTS),--plots $(PLOTS))

# With RUNLEVEL=1 they are installed and not started where init is no systemd; where it is, supervisord's service runs then.
peers:
	@for tool in supervisord:supervisor s6-svscan:s6 runsvdir:runit tsp:task-spooler nq:nq; do \
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 apt-get install -qqy --no-install-recommends$$missing || \
	  echo "cannot install$$missing: going on without"; \
	else echo "not installed:$$missing (what needs it is skipped, and says so)"; fi
	@[ -x build/peers/bin/circusd ] || { $(PYTHON) -m venv build/peers && \
	  build/peers/bin/pip install --quiet --disable-pip-version-check circus; } || echo "cannot install circus: going on without"

# Services in CI only: installed anywhere else they would also be started. (RUNLEVEL=1 keeps them from that where init is no systemd.)
tools:
	@for tool in gcc mandoc zsh fish shellcheck strace; do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; \
	if [ -n "$$CI" ] && ! [ -x /usr/sbin/sshd ]; then missing="$$missing openssh-server"; fi; \
	if [ -n "$$CI" ] && ! [ -x /lib/systemd/systemd ]; then missing="$$missing systemd dbus libpam-systemd"; fi; \
	if [ -n "$$CI" ] && ! [ -x /usr/sbin/nginx ]; then missing="$$missing nginx-light"; fi; \
	if [ -n "$$CI" ] && ! [ -x /usr/bin/redis-server ]; then missing="$$missing redis"; fi; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 apt-get install -qqy$$missing || echo "cannot install$$missing: going on without"; \
	else echo "not installed:$$missing (what needs it is skipped, and says so)"; fi

install:
	$(PYTHON) -m venv $(PREFIX)/lib/jobd
	$(PREFIX)/lib/jobd/bin/pip install --quiet --disable-pip-version-check --upgrade .
	cd $(PREFIX)/lib/jobd/bin && $(CURDIR)/scripts/isolate jobctl jobd jobd-stdio-bridge
	install -d $(PREFIX)/bin
	ln -sf ../lib/jobd/bin/jobd ../lib/jobd/bin/jobctl ../lib/jobd/bin/jobd-stdio-bridge $(PREFIX)/bin/
	for page in man/*.[1-8]; do \
	  install -Dm644 $$page $(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit; \
	done
	install -Dm644 jobctl/completions/jobctl.bash $(PREFIX)/share/bash-completion/completions/jobctl
	install -Dm644 jobctl/completions/_jobctl $(PREFIX)/share/zsh/site-functions/_jobctl
	install -Dm644 jobctl/completions/jobctl.fish $(PREFIX)/share/fish/vendor_completions.d/jobctl.fish
	install -d $(PREFIX)/share/systemd/user
	sed 's|/usr/local/lib/jobd/|$(PREFIX)/lib/jobd/|' systemd/jobd-user.service >$(PREFIX)/share/systemd/user/jobd.service
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) echo "installed; $(PREFIX)/bin is not in your PATH yet" ;; esac
	@echo "completion: bash (with bash-completion) and fish find it by themselves; 'jobctl help completion' tells of zsh"

uninstall:
	rm -rf $(PREFIX)/lib/jobd
	rm -f $(PREFIX)/bin/jobd $(PREFIX)/bin/jobctl $(PREFIX)/bin/jobd-stdio-bridge
	for page in man/*.[1-8]; do rm -f $(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	rm -f $(PREFIX)/share/bash-completion/completions/jobctl $(PREFIX)/share/zsh/site-functions/_jobctl
	rm -f $(PREFIX)/share/fish/vendor_completions.d/jobctl.fish $(PREFIX)/share/systemd/user/jobd.service

# PREFIX here is /usr/local unless somebody says otherwise; ~/.local would be the home of root.
install-system uninstall-system:
	@DESTDIR='$(DESTDIR)' PREFIX='$(if $(filter file,$(origin PREFIX)),/usr/local,$(PREFIX))' \
	PYTHON='$(if $(filter file,$(origin PYTHON)),,$(PYTHON))' scripts/install-system $(@:-system=)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
