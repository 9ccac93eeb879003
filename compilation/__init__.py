"""The compiled build: Cython makes extension modules of the same sources, which know nothing of it.

What Cython has to know beyond them is in `names` (which modules, and what a name stands for) and read off them by
`declarations`. `setup.py` uses it if it is asked to.
"""
