# Every target works on a fresh clone: each depends on .venv, which ./setup makes from requirements.lock.
PY := .venv/bin/python
SEEDS ?= 2000
PEERS := objstore,swift,ceph
SEED ?=
WORKLOAD ?=

.PHONY: setup run cloud test check sim variants conformance system torture bench bench-peers bench-million lock clean fuzz
setup: .venv/ready
.venv/ready: requirements.lock pyproject.toml setup_venv
	./setup_venv

run: setup            ## a cluster of 3 storage nodes and 2 proxies in ./objstore-data, keys and a snippet printed
	.venv/bin/objstore dev --nodes 3 --proxies 2 --dir objstore-data

cloud: setup          ## the same with OpenStack's services and a host of guests, in the background; .venv/bin/objstore cloud down ends it
	.venv/bin/objstore cloud up --dir objstore-data

check: setup          ## format, lint, types, import contracts, unit and property tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(PY) -m pytest tests/unit tests/props tests/fuzz tests/test_tidy.py -n 2

test: check           ## everything that CI runs
	$(PY) -m pytest tests/conformance tests/sim tests/system -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder --durations=12
	$(PY) -m tests.sim --seeds 500 --jobs 2
	$(PY) -m tests.sim --workload objects --seeds 30 --jobs 2

sim: setup            ## make sim SEEDS=2000, or SEED=n for one seed with its trace; WORKLOAD=objects for the whole object model, with versions
	$(PY) -m tests.sim --workload $(or $(WORKLOAD),registers) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) --jobs 2

variants: setup       ## the code broken on purpose in seven ways, each of which the simulator must catch
	$(PY) -m tests.sim --variants --seeds 500 --jobs 2

conformance: setup    ## real clients with real files, over HTTP and TLS, by path and by host; CLIENTS="boto3 rclone" for some
	$(PY) -m pytest tests/conformance
	$(PY) -m tests.conformance $(CLIENTS)

fuzz: setup           ## 200,000 hostile requests; make fuzz REQUESTS=5000, or SEED=n to repeat a run
	$(PY) -m tests.fuzz --requests $(or $(REQUESTS),200000) $(if $(SEED),--seed $(SEED))

system: setup         ## real processes
	$(PY) -m pytest tests/system

torture: setup variants ## long fault runs, and proof that faults would be noticed
	$(PY) -m tests.torture

bench: setup          ## the budgets table, measured
	$(PY) -m benchmarks

bench-peers: setup    ## the same load on this store, OpenStack Swift and Ceph's gateway, in turn; STORES=objstore,ceph for some
	$(PY) -m benchmarks.peers --stores $(or $(STORES),$(PEERS))

bench-million: setup  ## a bucket of a million objects lists as one of ten thousand does; OBJECTS=100000 for a short run
	$(PY) -m benchmarks.million --objects $(or $(OBJECTS),1000000)

lock: setup
	.venv/bin/uv pip compile pyproject.toml --extra dev --python-version 3.11 -o requirements.lock --generate-hashes --no-header --no-emit-index-url --no-annotate --universal

clean:
	rm -rf .venv objstore-data
