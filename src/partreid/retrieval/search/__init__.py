"""Exact search through int8 codes. They bound the distances, so that only few must be computed: see docs/search.md.

It needs numkong (int8 products) and numba, the extra ``search``; without them galleries are searched the plain way.
"""
