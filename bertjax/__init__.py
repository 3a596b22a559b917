"""BERT in JAX and Haiku: load pretrained weights, fine-tune, save, predict.

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that
`import bertjax` starts nothing and costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
