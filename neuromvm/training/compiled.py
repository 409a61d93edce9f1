"""A function of tensors, recorded once as a list of operations and compiled.

A training step calls hundreds of small operations, most of them for gradients. Recorded together with its gradients it is one
function without autograd, modules or mappings, of which the compiler makes a few passes over memory.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from neuromvm.errors import CompilerError
from neuromvm.training.batched_products import rewrite_products

Function = Callable[[Sequence[Tensor]], list[Tensor]]
_known: dict[Hashable, Function] = {}


def compiled(name: Hashable, function: Function, example: Sequence[Tensor]) -> Function:
    """Return a function compiled for tensors such as the example; once a process for each name and shapes of tensors.

    Parameters
    ----------
    name
        Of the function: two of the same name do the same.
    function
        Of a list of tensors, to a list of tensors; it may change those that it is given, which share no memory unless they are
        the same. What it does must not depend on their values.
    example
        Tensors of the shapes, types and device that it will be called with; where one occurs twice, so it does in every call.

    Raises
    ------
    CompilerError
        If it cannot be compiled here; most often there is no C++ compiler.

    Examples
    --------
    >>> double = compiled("double", lambda tensors: [2 * tensors[0]], [torch.zeros(3)])  # doctest: +SKIP
    >>> double([torch.ones(3)])  # doctest: +SKIP
    [tensor([2., 2., 2.])]
    """
    first = {id(tensor): place for place, tensor in reversed([*enumerate(example)])}
    key = (name, *((tensor.shape, tensor.dtype, tensor.device, first[id(tensor)]) for tensor in example))
    if key not in _known:
        _known[key] = _compile(function, example)
    return _known[key]


def _compile(function: Function, example: Sequence[Tensor]) -> Function:
    # Recorded and tried on copies, for it may change what it is given; a tensor that is given twice is one copy.
    copies = {id(tensor): tensor.detach().clone() for tensor in example}
    tried = [copies[id(tensor)] for tensor in example]
    recorded = make_fx(lambda *tensors: function(tensors))(*tried)
    rewrite_products(recorded)
    # In one piece, or not at all: pieces with calls of Python between them are slower than no compiling.
    fast: Callable[..., list[Tensor]] = torch.compile(recorded, dynamic=False, fullgraph=True)

    @torch.no_grad()
    def call(tensors: Sequence[Tensor]) -> list[Tensor]:
        return fast(*tensors)

    try:
        call(tried)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of every error of the compiler
        cause = str(getattr(error, "inner_exception", error)).strip()
        raise CompilerError(
            "training.compile",
            found=cause.splitlines()[0] if cause else type(error).__name__,
            expected="what torch compiles with: g++ or clang (Visual C++ on Windows), on a GPU Triton as well",
            next_step="Install it, or leave compile out",
        ) from error
    return call
