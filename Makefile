# make run: serve the example · make demo: half a minute of it (STAY=1: and stay) · make test: every test · make check: format, lint, types, imports
# make format · make lock: new versions into the locks · make bench: what it costs

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
JOBS ?= 2

# The venv's own pip; or, where the system's Python brings no ensurepip (Debian without python3-venv), the system's
# pip working on the venv.
PIP = $$($(PY) -m pip --version >/dev/null 2>&1 && echo $(PY) -m pip || echo $(PYTHON) -m pip --python $(PY))
INSTALL = $(PIP) install --quiet --disable-pip-version-check

LOCKS := requirements.lock requirements-build.lock

.PHONY: run demo test check format lock bench
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	$(VENV)/bin/alertbot serve --config alertbot.example.yml

demo: $(VENV)/.installed
	$(PY) -m demo $(if $(STAY),--stay)

test: $(VENV)/.installed-dev
	tests/install_servers
	$(PY) -m pytest -n $(JOBS) --dist loadgroup

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.installed-dev
	$(PY) -m bench

# Everything is pinned with its hash, whatever the platform and the Python. No package index is named in the locks:
# they hold wherever the packages come from. The second and third keep to the versions of the first.
lock: $(VENV)/.installed-dev
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) --group build --constraints requirements.lock --output-file requirements-build.lock
	$(COMPILE) pyproject.toml --group build --group dev --constraints requirements.lock \
		--constraints requirements-build.lock --output-file requirements-dev.lock

COMPILE = $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

# The stamps are remade when a lock or the project's own description changes; the editable install follows the
# sources by itself.
$(VENV)/.installed: $(LOCKS) pyproject.toml hatch_build.py | $(PY)
	@echo "installing alertbot into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml hatch_build.py | $(PY)
	@echo "installing alertbot and its tools into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "alertbot needs Python 3.11 or newer; $(PYTHON) is not: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
