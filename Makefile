# Every target does its own set-up; CONTRIBUTING.md says what each one costs.

MODEL ?= models/nano
PYTHON ?= python3
# Every precision that a CPU runs; the first one is what the others are held against.
PRECISIONS ?= fp32 fp16 fp8 int8 int8-weight int4-weight
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
export CARGO_TERM_PROGRESS_WHEN ?= never
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help serve build wheel package test lint bench onnxruntime onnxruntime-gpu onnxruntime-openvino onnxruntime-tensorrt-rtx redis test-clients test-page test-gpu test-recipes test-sql test-tables test-tensorrt test-values test-wheel check-deploy check-features check-package test-loom test-arm check-dependencies sbom suites precision-report bench-cpu bench-cpu-dry bench-gpu-kit bench-gpu-dry

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

serve: onnxruntime  ## Convert and serve a model on port 30000 (MODEL=models/nano)
	cargo run --release --quiet --bin lexivec -- serve $(MODEL)

build: onnxruntime  ## The program, optimised: target/release/lexivec
	cargo build --release --bin lexivec

wheel:  ## The Python package, optimised: wheels in the target folder (server/INSTALL.md)
	$(PYTHON) -m pip install --quiet --upgrade --target $(TARGET)/maturin --requirement tests/wheel/requirements.txt
	$(TARGET)/maturin/bin/maturin build --release --locked --manifest-path server/Cargo.toml --out $(TARGET)/wheels

package:  ## The crates as packages for a registry, each built from its package: package in the target folder; slow
	$(PYTHON) tests/package/run.py --build

test: onnxruntime onnxruntime-openvino redis  ## All tests
	cargo build --locked --quiet --bin lexivec
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace --locked --no-fail-fast
	cargo test --doc --workspace --locked --quiet
else
	cargo test --workspace --locked
endif

test-loom:  ## The queue in every order of events that loom tries; two minutes
	cargo test --locked --package lexivec-runtime --features loom --config 'profile.dev.package.lexivec-runtime.opt-level=3' --lib loom_tests

test-arm: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER = aarch64-linux-gnu-gcc
test-arm: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER = qemu-aarch64 -L /usr/aarch64-linux-gnu
test-arm:  ## The CPU kernels for aarch64, emulated; needs qemu-user and gcc-aarch64-linux-gnu; four minutes
	rustup target add aarch64-unknown-linux-gnu
	cargo test --locked --package lexivec-kernels --lib --target aarch64-unknown-linux-gnu

lint:  ## Format, clippy, documentation, each without a warning
	cargo fmt --all --check
	cargo fmt --manifest-path server/sql/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items

check-features:  ## clippy on the library with each feature alone and with none, and on the program without `cuda` and with `object-store`
	for feature in "" hub redis cuda; do \
	  cargo clippy --package lexivec --all-targets --locked --no-default-features --features "$$feature" -- -D warnings || exit 1; \
	done
	cargo clippy --package lexivec-server --locked --no-default-features -- -D warnings
	cargo clippy --package lexivec-server --all-targets --locked --features object-store -- -D warnings

check-package:  ## Packages of the crates, not built: metadata, licences, size, included files
	$(PYTHON) tests/package/run.py

check-dependencies:  ## Licences, sources and versions of dependencies (deny.toml), and advisories where GitHub can be reached
	$(PYTHON) tests/deploy/dependencies.py

sbom:  ## CycloneDX bill of materials of the program, as in the CPU image: lexivec.cdx.json in the target folder
	@mkdir -p $(TARGET)
	$(PYTHON) server/deploy/sbom.py cpu > $(TARGET)/lexivec.cdx.json

bench: onnxruntime redis  ## Benchmarks, side by side
	cargo bench --package lexivec-benches

bench-cpu: onnxruntime  ## The CPU path beside PyTorch, OpenVINO, ONNX Runtime and llama.cpp (ARGS="--only lexivec-int8 --loads 8x64"); 14 GB, an hour
	cargo build --release --locked --bin lexivec --example in_process --example peaks
	$(PYTHON) benches/cpu/run.py --program $(TARGET)/release/lexivec --examples $(TARGET)/release/examples --out $(TARGET)/bench-cpu $(ARGS)

bench-cpu-dry: onnxruntime  ## The same with nano and onnxruntime alone, to show that it runs; its figures mean nothing
	cargo build --quiet --locked --workspace --bin lexivec --example in_process --example peaks
	$(PYTHON) benches/cpu/run.py --dry --rounds 1 --seconds 0 --program $(TARGET)/debug/lexivec --examples $(TARGET)/debug/examples --out $(TARGET)/bench-cpu-dry

bench-gpu-kit: build onnxruntime-gpu  ## What measures lexivec on a GPU elsewhere, in pieces: gpu-kit in the target folder
	$(PYTHON) benches/gpu/kit.py --program $(TARGET)/release/lexivec --out $(TARGET)/gpu-kit

bench-gpu-dry: onnxruntime-gpu  ## The same kit on a stand-in device, which computes nothing; three minutes
	$(PYTHON) benches/gpu/dry.py --out $(TARGET)/gpu-dry

precision-report: build  ## What each precision costs nano: models/nano/PRECISION.md; precision.html and .json in the target folder
	rm -rf $(TARGET)/precision && mkdir -p $(TARGET)/precision
	for precision in $(PRECISIONS); do \
	  $(TARGET)/release/lexivec convert models/nano --precision $$precision --output $(TARGET)/precision/nano-$$precision || exit 1; \
	done
	report=$$PWD/models/nano/PRECISION.md && cd $(TARGET)/precision && ../release/lexivec compare $(PRECISIONS:%=nano-%) \
	  --markdown $$report --json ../precision.json --html ../precision.html

test-page: onnxruntime  ## The start page and the reports in headless Chromium, with screenshots
	$(PYTHON) tests/browser/run.py

test-clients: onnxruntime  ## Real clients (openai, LangChain, LlamaIndex, …) and schemathesis against a real server
	$(PYTHON) tests/clients/run.py

test-tensorrt: onnxruntime  ## Graphs for TensorRT, compiled by TensorRT-RTX without a GPU
	$(PYTHON) tests/tensorrt/run.py

test-values:  ## Graphs for CUDA, computed on a CPU, against golden vectors
	$(PYTHON) tests/values/run.py

test-tables:  ## Parquet files, with pyarrow, polars, DuckDB, LanceDB, Qdrant and pgvector; object stores, with moto
	cargo test --package lexivec-server --locked --features object-store --lib embed::store
	$(PYTHON) tests/tables/run.py

test-recipes: onnxruntime  ## server/recipes: Daft, Ray Data and Spark against a real server
	$(PYTHON) tests/recipes/run.py

test-sql: onnxruntime  ## SQL with embed(…) on DataFusion, and on clusters of Ballista on loopback; 15 to 25 minutes, most of it the build
	$(PYTHON) tests/sql/run.py

test-wheel:  ## The Python package in a fresh environment, from which nano is served
	$(PYTHON) tests/wheel/run.py

check-deploy: onnxruntime redis  ## server/deploy: files, dashboard and alerts against a real server and Prometheus
	$(PYTHON) tests/deploy/run.py

test-gpu: onnxruntime-gpu  ## `--ep cuda` on a stand-in CUDA device, which needs no GPU
	$(PYTHON) tests/gpu/run.py

suites: test-clients test-loom test-page test-gpu check-deploy test-tables test-recipes test-tensorrt test-values test-wheel bench-gpu-dry bench-cpu-dry  ## All of these: with --jobs 2, two at a time

# Set-ups that bear one process at a time: a conversion of nano and apt-get, the environment of the stand-in device. The suites that
# run the program come after test-wheel and test-tables, which put other builds of it in the same place.
ifneq (,$(filter suites,$(MAKECMDGOALS)))
test-tables: | test-wheel
test-clients test-gpu test-recipes test-tensorrt test-values: | test-tables
test-page: | test-clients
check-deploy: | test-page
bench-gpu-dry: | test-gpu
bench-cpu-dry: | test-values
endif

onnxruntime:  ## ONNX Runtime for CPUs, into the cache folder (once)
	@$(PYTHON) runtime/setup/onnxruntime.py cpu

onnxruntime-gpu:  ## ONNX Runtime with CUDA and TensorRT, into the cache folder (once)
	@$(PYTHON) runtime/setup/onnxruntime.py gpu

onnxruntime-openvino:  ## OpenVINO's execution provider, into the cache folder (once)
	@$(PYTHON) runtime/setup/onnxruntime.py openvino

onnxruntime-tensorrt-rtx:  ## TensorRT for RTX's execution provider, into the cache folder (once)
	@$(PYTHON) runtime/setup/onnxruntime.py tensorrt-rtx

redis:  ## redis-server, which tests start, from the system's packages (once)
	@command -v redis-server >/dev/null || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq redis-server >/dev/null; \
	} || { \
	  echo "redis-server is missing, and apt-get could not install it: install Redis 6.2 or newer and put redis-server on PATH" >&2; \
	  exit 1; \
	}
