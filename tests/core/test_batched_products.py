"""Products in another form are the same products."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from neuromvm.training import compiled
from neuromvm.training.batched_products import FEW, TINY, aten, rewrite_products
from tests.core.test_step import GOLDEN, PAIR, check

STACK, WIDE = 3, FEW + 4


@pytest.mark.parametrize(
    ("rows", "summed", "columns", "rewritten"),
    [
        (WIDE, WIDE, 2, True),
        (WIDE, TINY, FEW, True),
        (WIDE, 2, WIDE, False),
        (2, WIDE, 2, False),
        (TINY, TINY, TINY, True),
        (TINY + 1, 2, FEW, False),
    ],
)
def test_few_columns_become_few_rows_and_tiny_products_a_loop(rows, summed, columns, rewritten):
    left, right = torch.randn(STACK, rows, summed), torch.randn(STACK, summed, columns)
    recorded = make_fx(torch.bmm)(left, right)
    rewrite_products(recorded)
    torch.testing.assert_close(recorded(left, right), left @ right)
    tiny = max(rows, summed, columns) <= TINY
    multiplied = recorded.graph.find_nodes(op="call_function", target=aten.bmm.default)
    assert len(multiplied) == (0 if tiny else 1)
    if not tiny:
        turned = recorded.graph.find_nodes(op="call_function", target=aten.transpose.int)
        assert bool(turned) is rewritten


def test_the_gradient_of_a_weight_is_made_as_the_weight_lies_in_memory():
    def gradient(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        weight = weight.detach().requires_grad_()
        (found,) = torch.autograd.grad((values @ weight.mT).square().sum(), weight)
        return found

    values, weight = torch.randn(STACK, 30, 40), torch.randn(STACK, 50, 40)
    recorded = make_fx(gradient)(values, weight)
    expected = gradient(values, weight)
    assert not recorded(values, weight).is_contiguous()
    rewrite_products(recorded)
    assert recorded(values, weight).is_contiguous()
    torch.testing.assert_close(recorded(values, weight), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("model", GOLDEN.values(), ids=GOLDEN.keys())
def test_a_recorded_step_of_a_stack_is_the_step(model, monkeypatch):
    """What would be compiled is called as it was recorded: this needs no compiler."""
    monkeypatch.setattr(compiled, "_known", {})
    monkeypatch.setattr(torch, "compile", lambda recorded, **_: recorded)
    check(model, PAIR)
    assert compiled._known
