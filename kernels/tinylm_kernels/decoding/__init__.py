"""One token through a whole model without a return to Python: a program of products and attention, and what runs it.

Numba alone runs it; a program is made by `tinylm.inference`, which also computes the same with kernels one by one.
"""
