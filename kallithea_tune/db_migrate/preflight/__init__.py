"""Preflight: what the target would refuse or change is found before anything is written.

`rules` names what is looked for. What a column of the target holds is decided by `limits` and
`holders`, how the engine of the source finds what does not fit by `finders`; `scan` looks through
one table, `uniqueness` at its keys, `consequences` at what fixes lead to, and `look` at everything.
"""
