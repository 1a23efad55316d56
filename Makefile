# The commands of the README; CI calls the same ones.
PYTHON ?= python3
VENV ?= .venv
export VENV := $(abspath $(VENV))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLUSTER_TESTS := SECRETS_STORE_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest

.PHONY: help venv demo test lint conformance test-cluster test-kubelet image bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

venv: $(INSTALLED)  ## everything that is needed, in .venv

$(INSTALLED): setup.py setup.cfg pyproject.toml $(wildcard protos/*.proto)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: venv  ## the main job, told as it happens, without a cluster
	@$(BIN)/python -m demo

test: venv  ## lint, types, and every test that needs no cluster
	$(BIN)/tox run -q --no-list-dependencies -e lint,types,imports,unit,conformance

lint: venv  ## ruff, mypy --strict, import-linter
	$(BIN)/tox run -q --no-list-dependencies -e lint,types,imports

conformance: venv  ## csi-sanity against the driver
	$(BIN)/python -m tests.cluster.build sanity
	$(BIN)/tox run -q --no-list-dependencies -e conformance

test-cluster: venv  ## against a real API server; builds it with Go on the first run
	$(BIN)/python -m tests.cluster.build apiserver helm
	$(CLUSTER_TESTS) tests/cluster tests/helm

test-kubelet: venv image  ## the image, and it on a real kubelet, as root
	$(BIN)/python -m tests.cluster.build apiserver node helm
	$(CLUSTER_TESTS) tests/docker tests/kubelet

image:  ## build/secrets-store-csi.tar
	docker/build.sh

bench: venv  ## figures and a chart in build/bench; DRIVER= REGISTRAR= PROBE= of others; ARGS=--quick
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[bench]'
	$(BIN)/python -m tests.cluster.build apiserver || true
	$(BIN)/python -m bench $(ARGS)

clean:  ## what make made in the tree
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .tox
