"""Every differentiable function, under one name: `from tinylm.autograd import functional as F`."""

from .attention import *  # noqa: F403
from .attention import __all__ as _attention
from .elementwise import *  # noqa: F403
from .elementwise import __all__ as _elementwise
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .losses import *  # noqa: F403
from .losses import __all__ as _losses
from .reductions import *  # noqa: F403
from .reductions import __all__ as _reductions
from .shaping import *  # noqa: F403
from .shaping import __all__ as _shaping

__all__ = [*_attention, *_elementwise, *_layers, *_losses, *_reductions, *_shaping]
