"""Preflight: what the target would refuse or change is found before anything is written.

Each rule is one entry in `rules`, with its `actions`, which ``--fix`` chooses (`fix_options`).
`conditions` are rules in the SQL of the source, for one table; `scan` counts the rows that meet
them, `cascade` follows what fixes lead to, `uniqueness` compares keys, and `preflight` runs all of
it. `report` describes the violations that were found.
"""
