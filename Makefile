# Two commands for a fresh clone: "make demo" and "make test".
.PHONY: demo test lint docs clean

demo:
	sh tools/demo.sh

test:
	sh tools/test.sh

clean:
	rm -rf .venv* demo-instance docs/_build
