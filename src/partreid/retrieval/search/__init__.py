"""Exact search through int8 codes that bound distances, so that few are computed: see docs/search.md.

It needs numkong (int8 products) and numba, the extra ``search``; without them galleries are searched the plain way.
"""
