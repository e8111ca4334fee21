"""Exact search through int8 codes, several times as fast as float32 products: see docs/search.md.

It needs numkong (int8 products) and numba, the extra ``search``; without them galleries are searched the plain way.
"""
