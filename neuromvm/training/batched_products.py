"""Batched products of a recorded function, each in the form that a CPU multiplies fastest.

Gradients ask for whatever follows from the chain rule. For a weight that is the transpose of what is stored, and a copy; heads
and latents give products of a few columns, which take libraries two to five times as long as products of a few rows.
"""

import torch
from torch.fx import GraphModule, Node

TINY = 8  # rows, columns and what is summed over: numbers that a loop multiplies faster than a library is called
FEW = 16  # columns

aten = torch.ops.aten


def rewrite_products(recorded: GraphModule) -> None:
    """Rewrite the batched products of a function in place; what it computes stays the same, up to rounding.

    Parameters
    ----------
    recorded
        What ``make_fx`` returns: its nodes know their shapes.

    Examples
    --------
    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> values, weight = torch.randn(3, 20, 10), torch.randn(3, 10, 2)
    >>> recorded = make_fx(torch.bmm)(values, weight)
    >>> rewrite_products(recorded)
    >>> torch.allclose(recorded(values, weight), values @ weight, atol=1e-5)
    True
    """
    for product in recorded.graph.find_nodes(op="call_function", target=aten.bmm.default):
        left, right = product.args
        assert isinstance(left, Node)
        assert isinstance(right, Node)
        (_, rows, summed), columns = left.meta["val"].shape, right.meta["val"].shape[2]
        transposing = _transposing(product)
        with recorded.graph.inserting_before(product):
            if max(rows, summed, columns) <= TINY:
                _replace([product], _loop(left, right))
            elif columns <= min(FEW, rows - 1):
                _replace([product], _contiguous(_transpose(_turned(left, right))))
            elif transposing and rows > FEW:
                _replace([product, *transposing], _turned(left, right))
    recorded.recompile()


def _transposing(product: Node) -> list[Node]:
    """Return what is done to a product if that is to transpose it and nothing else, in order; otherwise nothing."""
    found, last = [], product
    while len(last.users) == 1:
        (last,) = last.users
        found.append(last)
        if last.target is aten.transpose.int and {place % 3 for place in last.args[1:] if isinstance(place, int)} == {1, 2}:
            return found
        if last.target is not aten.view.default or last.meta["val"].shape != product.meta["val"].shape:
            break
    return []


def _replace(nodes: list[Node], result: Node) -> None:
    """Let a result stand for the last of some nodes, each of which is used by the next alone."""
    nodes[-1].replace_all_uses_with(result)
    for node in reversed(nodes):
        node.graph.erase_node(node)


def _loop(left: Node, right: Node) -> Node:
    """Multiply number by number and add up: the compiler makes one loop of it."""
    call = left.graph.call_function
    pairs = call(aten.mul.Tensor, (call(aten.unsqueeze.default, (left, 2)), call(aten.unsqueeze.default, (_transpose(right), 1))))
    return call(aten.sum.dim_IntList, (pairs, [3]))


def _turned(left: Node, right: Node) -> Node:
    """Return the transpose of the product."""
    return left.graph.call_function(aten.bmm.default, (_transpose(right), _transpose(left)))


def _transpose(matrices: Node) -> Node:
    return matrices.graph.call_function(aten.transpose.int, (matrices, 1, 2))


def _contiguous(matrices: Node) -> Node:
    """Copy the few columns to where whoever reads them looks: a gradient of a weight is read as it lies in memory."""
    return matrices.graph.call_function(aten.clone.default, (matrices,), {"memory_format": torch.contiguous_format})
