# Everything a person or a CI job does with this checkout. `make` alone lists it.
# ARGS is handed through: make run ARGS="--port 9000", make test ARGS="-k outbox".

MAKEFLAGS += --no-print-directory
SOURCES := agent benchmarks checks cli controller playbooks scripts wire tests
ARGS ?=
# Tests wait for real servers more than they compute, so that four keep two cores busy.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help run test check hardware bench chaos fuzz fmt docs policy-report record-wire record-playbooks dist sbom licences audit clean environment

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: environment  ## Set everything up and start a whole cell with eight simulated nodes (ARGS for `fleetmend up`)
	@case " $(ARGS) " in *" --broker"*) ;; *) scripts/ensure-mosquitto ;; esac
	@.venv/bin/fleetmend up --simulate 8 $(ARGS)

# Tests start hundreds of processes. What Python compiles for the first is kept for the others, whatever the shell says.
test: export PYTHONDONTWRITEBYTECODE :=
test: environment  ## Set everything up and run every test (ARGS for pytest)
	@scripts/ensure-test-parts
	@.venv/bin/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: environment  ## Lint, formatting, types, import contracts, shell scripts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(SOURCES)
	.venv/bin/lint-imports --no-logo
	@if command -v shellcheck >/dev/null; then echo shellcheck && shellcheck -x scripts/ensure-* scripts/*.sh slurm/* examples/* systemd/fleetmend-hold package/package-step package/debian/p* .ci/run; \
	else echo "shellcheck: not here, skipped"; fi

hardware: environment  ## On an idle host with NVIDIA GPUs: hold readings and benchmarks to the real thing, into docs/evidence
	@.venv/bin/pytest -m hardware tests/hardware $(ARGS)
	@.venv/bin/python -m scripts.hardware_evidence

bench: environment  ## Measure accuracy, localiser, latency, intake, store, replay, web page, metrics, storms, a hostile node, simulated fleets, scale, cost, hangs, aborts, Kubernetes; writes benchmarks/results
	@scripts/ensure-test-parts bench
	@.venv/bin/python -m benchmarks.accuracy
	@nice -n 10 .venv/bin/python -m benchmarks.localise
	@.venv/bin/python -m benchmarks.latency
	@.venv/bin/python -m benchmarks.cordon_latency
	@.venv/bin/python -m benchmarks.trace_cost
	@.venv/bin/python -m benchmarks.ingest
	@.venv/bin/python -m benchmarks.scale
	@.venv/bin/python -m benchmarks.bench_planning
	@.venv/bin/python -m benchmarks.agent_cost
	@.venv/bin/python -m benchmarks.hang_proof
	@.venv/bin/python -m benchmarks.nccl_child
	@.venv/bin/python -m benchmarks.bench_abort
	@.venv/bin/python -m benchmarks.store
	@.venv/bin/python -m benchmarks.web
	@.venv/bin/python -m benchmarks.metrics
	@.venv/bin/python -m benchmarks.storm
	@.venv/bin/python -m benchmarks.hostile
	@.venv/bin/python -m benchmarks.report_fold
	@.venv/bin/python -m benchmarks.replay
	@nice -n 10 .venv/bin/python -m benchmarks.simulate
	@.venv/bin/python -m benchmarks.kubernetes
	@.venv/bin/python -m benchmarks.kubernetes_drain
	@.venv/bin/python -m benchmarks.bare_debian

chaos: environment  ## Kill agents, controller and broker 100 times under load, and count what was lost (ARGS for benchmarks.chaos)
	@scripts/ensure-mosquitto
	@.venv/bin/python -m benchmarks.chaos $(ARGS)

policy-report: environment  ## Hold the playbooks to the aims over 20 simulated fleets, and to those of the last release; fails when they do not pass (ARGS)
	@.venv/bin/python -m scripts.policy_report $(ARGS)

fuzz: environment  ## Give every parser of foreign bytes its share of a million inputs (ARGS for tests.fuzz.campaign)
	@.venv/bin/python -m tests.fuzz.campaign $(ARGS)

fmt: environment  ## Format the code and repair what the linter can repair
	.venv/bin/ruff check --fix --quiet .
	.venv/bin/ruff format .

docs: environment  ## Write docs/reference anew from the code
	@.venv/bin/python scripts/generate_docs.py

dist: environment  ## Build wheel, sdist, .deb and a tarball for rpmbuild into dist (ARGS="--python 3.13 --architecture arm64 --extra s3")
	@.venv/bin/python -m scripts.packing $(ARGS)

sbom: environment  ## Write what uv.lock brings to a host as CycloneDX JSON into dist
	@.venv/bin/python -m scripts.packing.sbom $(ARGS)

licences: environment  ## List the licence of every package that comes with it; fail on one that package/licences.toml does not allow
	@.venv/bin/python -m scripts.packing.licences

audit: environment  ## Ask OSV for known vulnerabilities in what uv.lock names; fails, too, when nobody can be asked (ARGS for pip-audit)
	@.venv/bin/python -m scripts.packing.audit $(ARGS)

record-wire: environment  ## At the release of a minor version: record what it says over MQTT, for later ones to be tested against (ARGS=--again)
	@.venv/bin/python -m scripts.wire_corpus $(ARGS)

record-playbooks: environment  ## Likewise: keep its playbooks, for later ones to be held to (ARGS=--again)
	@.venv/bin/python -m scripts.playbook_corpus $(ARGS)

clean:  ## Remove what the other targets made in this checkout (not what `fleetmend up` stored)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@scripts/ensure-environment
