"""One question a module: `python -m benchmarks.NAME --help`; peers are measured in the same run.

They run from the repository root, in an environment that has torch and accelerate besides bertjax.
"""
