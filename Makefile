.DEFAULT_GOAL := help
.PHONY: help demo test unit lint docs man package deb clean

help: ## list the rules
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: ## make a small Kallithea in demo-instance and check its health; PYTHON=python3.11 chooses a Python
	sh tools/demo.sh

test: ## run everything: linters, documentation and all tests on both Pythons; T="tests/test_docs.py -x" only those
	sh tools/test.sh $(T)

unit: ## run the tests that need neither an instance nor a server, in two minutes; T=... only those
	sh tools/unit.sh $(T)

lint: ## run ruff and mypy
	sh tools/lint.sh

docs: ## build the documentation in docs/_build/html
	sh tools/docs.sh

man: ## write the manual pages in docs/man from the commands' options
	sh tools/man.sh

package: ## build the archive of the sources and the wheel in dist, and check both
	sh tools/package.sh

deb: ## build the Debian package in dist; DEBFULLNAME="Your Name" DEBEMAIL=you@your.domain say who does
	sh tools/debian.sh

clean: ## remove what these rules have made
	rm -rf .venv* .test-cache demo-instance docs/_build build dist *.egg-info
