# Tests of the collection. "make test" works on a fresh machine; everything it makes is in .venv, .cache and .ansible.
#   make unit ARGS='-k hba'                  arguments for pytest, or for molecule:
#   make molecule ARGS='converge -s NAME'    keeps the containers; "make molecule ARGS=destroy" removes them

PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := test
.PHONY: demo demo-clean test test-all lint unit docs collection system controllers molecule matrix clients clusters services examples pictures importer bench shell clean

test test-all lint unit docs collection system controllers molecule matrix clients clusters services examples pictures importer bench shell clean:
	@$(PYTHON) tests/run.py $@ $(ARGS)

# The main job on a throw-away PostgreSQL cluster of this machine
demo:
	@$(PYTHON) demo/demo.py up

demo-clean:
	@$(PYTHON) demo/demo.py down
