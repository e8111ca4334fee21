"""Exact search through int8 codes, several times as fast as float32 products: see docs/search.md.

It needs numkong (int8 products) and numba, the extra ``search``; without them galleries are searched the plain way.
"""

from partreid.retrieval.search.coded import CodesInMemory, can_run
from partreid.retrieval.search.codes import SlotCodes

__all__ = ["CodesInMemory", "SlotCodes", "can_run"]
