"""A function of tensors, recorded with its gradients as a list of operations and compiled.

A training step calls hundreds of small operations; without autograd, modules and mappings they become a few passes over memory.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from neuromvm.errors import CompilerError

Function = Callable[[Sequence[Tensor]], list[Tensor]]
_compiled: dict[Hashable, Function] = {}


def compiled(name: Hashable, function: Function, example: Sequence[Tensor]) -> Function:
    """Return a function of a list of tensors, compiled for tensors such as the example: once a process for each name and shapes.

    Functions of the same name compute the same and do not branch on values. A tensor that occurs twice in the example does so
    in every call. Raises CompilerError if it cannot be compiled on this machine, most often for want of a C++ compiler.
    """
    positions = {id(tensor): position for position, tensor in reversed([*enumerate(example)])}
    key = (name, *((tensor.shape, tensor.dtype, tensor.device, positions[id(tensor)]) for tensor in example))
    if key not in _compiled:
        _compiled[key] = _compile(function, example)
    return _compiled[key]


def _compile(function: Function, example: Sequence[Tensor]) -> Function:
    copies = {id(tensor): tensor.detach().clone() for tensor in example}
    arguments = [copies[id(tensor)] for tensor in example]
    recorded = make_fx(lambda *tensors: function(tensors))(*arguments)
    # In one piece or not at all: pieces with calls of Python between them are slower than the function itself.
    fast: Callable[..., list[Tensor]] = torch.compile(recorded, dynamic=False, fullgraph=True)

    @torch.no_grad()
    def call(tensors: Sequence[Tensor]) -> list[Tensor]:
        return fast(*tensors)

    try:
        call(arguments)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # the base class of all errors of the compiler
        cause = str(getattr(error, "inner_exception", error)).strip()
        raise CompilerError(
            "training.compile",
            found=cause.splitlines()[0] if cause else type(error).__name__,
            expected="what torch compiles with: g++ or clang (Visual C++ on Windows), on a GPU Triton as well",
            next_step="Install it, or leave compile out",
        ) from error
    return call
