"""Comparing source and target, down to the row.

The copy is not trusted: both engines compute a `fingerprint` of each range of keys, `compare`
fetches the rows of ranges whose fingerprints differ, and `difference` describes them. Tables
without an integer key are `unkeyed`, and read completely. `pieces` is the text of values that all
engines write alike. Nothing here is shared with the code that copies. `schema` and `application`
check the tables and the pages of the application.
"""
