"""What is measured: each module is one program, run in a process of its own.

Its arguments are a JSON object of settings and the path where its JSON result goes.
"""
