"""Weights of linear layers that oneDNN has packed once, where ``F.linear`` packs them again at every call.

The only file that knows torch's private oneDNN ops, those that torch's compiler uses. Where they are missing, or no
faster, nothing is packed and the layers stay as they are.

A packed weight is still the parameter that it was: the same object, name and shape. Reading it (``state_dict()``,
``abs()``, a copy, a pickle) gives an ordinary tensor with the same bits. It becomes an ordinary parameter again, in
place, when a product asks for gradients, when it is written to, and in :func:`unpack`.
"""

import copy
import functools
import math
import os
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map_only

from ..errors import LayerdropError

PACK = "LAYERDROP_PACK"  # environment variable: 0 packs nothing, 1 every layer; else a trial decides (worth_packing)
LEAST = 2**16  # weights of a layer: a call of oneDNN costs some 10 µs, which a smaller product does not save
LONGEST = 0.3  # seconds after which no further round of the trial begins, on a busy machine
ROWS = 24  # that the weights are packed for; they serve any number
GAIN = 0.95  # maximum of the trial's time with packed weights over that without
IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")
DATA = (Tensor.data.__get__, Tensor.data.__set__)
ALGORITHMS = {"none": "", "gelu": "none", "relu": ""}  # activations that the op computes -> its word for how


@functools.cache
def works() -> bool:
    """Whether this torch has the ops, on this CPU, and they compute what ``F.linear`` does."""
    try:
        x, weight, bias = torch.randn(3, 8), torch.randn(6, 8), torch.randn(6)
        with torch.no_grad():
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
            found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "gelu", [], "none")
        same = torch.allclose(found, F.gelu(F.linear(x, weight, bias)), atol=1e-5)
        return same and torch.equal(packed.to_dense(), weight)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False


@functools.cache
def worth_packing() -> bool:
    """Whether packed weights are faster here: a trial of some 20 ms, made once per process.

    Its weights come from memory in turn, as in a model: those of one layer over and over would stay in the cache.
    """
    weights = [torch.randn(512, 512) for _ in range(24)]
    packed = [torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) for weight in weights]
    x, least, start = torch.randn(ROWS, 512), [[math.inf, math.inf] for _ in weights], time.perf_counter()
    with torch.no_grad():
        for _ in range(4):
            for times, *pair in zip(least, weights, packed, strict=True):
                for place, (product, weight) in enumerate(zip((F.linear, _linear), pair, strict=True)):
                    before = time.perf_counter()
                    product(x, weight, None)
                    times[place] = min(times[place], time.perf_counter() - before)
            if time.perf_counter() - start > LONGEST:
                break
    plain, with_packed = map(sum, zip(*least, strict=True))
    return with_packed <= GAIN * plain


def check_dtype(dtype: torch.dtype) -> None:
    """Raise LayerdropError unless products can be computed in *dtype* here: single precision, or bfloat16."""
    if dtype not in (torch.float32, torch.bfloat16):
        raise LayerdropError(f"products are computed in float32 or bfloat16, not in {dtype}")
    if dtype == torch.bfloat16 and not (_usable() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        raise LayerdropError(f"this CPU or this PyTorch has no products in bfloat16, or {PACK} is 0: leave bf16 out")


def least_size(dtype: torch.dtype = torch.float32) -> int | None:
    """Number of weights from which on a layer is packed in this process, for products in *dtype*; None if none is."""
    if not _usable():
        return None
    if os.environ.get(PACK) == "1":
        return 1
    return LEAST if dtype != torch.float32 or worth_packing() else None


def _usable() -> bool:
    return os.environ.get(PACK) != "0" and works()


class Packed:
    """A matrix that oneDNN has packed.

    Args:
        dense: the matrix (rows, columns), in single precision.
        keep: keep *dense* as well, for uses other than products.
        dtype: precision of the products; another one than that of *dense* keeps it.
    """

    def __init__(self, dense: Tensor, keep: bool = False, dtype: torch.dtype = torch.float32):
        self.rows = len(dense)
        self._dtype = dtype
        self._dense = dense if keep or dtype != dense.dtype else None
        self._matrix = None if keep else self._pack(dense)

    def dense(self) -> Tensor:
        """The matrix as it was given."""
        return self._matrix.to_dense() if self._dense is None else self._dense

    def product(self, x: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
        """activation(x Wᵀ + *bias*), without gradients; *activation* is one of ALGORITHMS."""
        if self._matrix is None:  # a matrix that is kept in any case is packed when a product first needs it
            self._matrix = self._pack(self._dense)
        if self._dtype == x.dtype:
            return _linear(x, self._matrix, bias, activation)
        bias = None if bias is None else bias.to(self._dtype)
        return _linear(x.to(self._dtype), self._matrix, bias, activation).to(x.dtype)

    def _pack(self, dense: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.ops.mkldnn._reorder_linear_weight(dense.to(self._dtype), ROWS)


def _linear(x: Tensor, matrix: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, matrix, bias, activation, [], ALGORITHMS[activation])


class PackedWeight(nn.Parameter):
    """A parameter (rows, columns) whose numbers are rows of a :class:`Packed` matrix; made by :func:`pack_weights`.

    Attributes:
        packed, rows: the matrix, and which of its rows.
    """

    @staticmethod
    def __new__(cls, packed: Packed, rows: slice, like: Tensor) -> "PackedWeight":
        about = {"dtype": like.dtype, "device": like.device, "requires_grad": like.requires_grad}
        self = torch.Tensor._make_wrapper_subclass(cls, like.shape, **about)
        self.packed, self.rows = packed, rows
        return self

    def __init__(self, *_args):
        pass

    def dense(self) -> Tensor:
        """An ordinary tensor of the same numbers."""
        return self.packed.dense()[self.rows]

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x Wᵀ + *bias*, without gradients."""
        if self.rows == slice(0, self.packed.rows):
            return self.packed.product(x, bias)
        result = self.packed.product(x)[..., self.rows]  # faster than unpacking: a layer with hooks, for example
        return result if bias is None else result + bias

    def __repr__(self) -> str:
        return f"Packed by oneDNN:\n{nn.Parameter(self.dense(), self.requires_grad)}"

    def __deepcopy__(self, memo: dict) -> nn.Parameter:
        """A copy is an ordinary parameter."""
        return memo.setdefault(id(self), nn.Parameter(self.dense().clone(), self.requires_grad))

    def __reduce_ex__(self, _protocol: int) -> tuple:
        """A pickle is one of an ordinary parameter."""
        return nn.Parameter, (self.dense().clone(), self.requires_grad)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        """torch's hook for whatever a Python program does with the weight."""
        kwargs = kwargs or {}
        if function is F.linear and not kwargs and is_packed_for(*args):
            return args[1].product(args[0], *args[2:])
        if _writes(function) or (function in (F.linear, F.embedding) and gradients_wanted(*args[:2])):
            for leaf in tree_leaves((args, kwargs)):
                if type(leaf) is cls:
                    unpack(leaf)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """torch's hook for its ops: they get ordinary tensors to read."""
        if function._schema.is_mutable:
            raise RuntimeError("this weight is packed for inference: call model.train() before it is written to")
        args, kwargs = tree_map_only(cls, cls.dense, (args, kwargs or {}))
        return function(*args, **kwargs)


def pack_weights(*weights: nn.Parameter, keep: bool = False, dtype: torch.dtype = torch.float32) -> None:
    """Pack *weights*, of the same number of columns, as one matrix, in place.

    They are left alone while an autograd graph refers to one of them, as its backward would not reach the parameter.

    Args:
        keep, dtype: see :class:`Packed`.
    """
    if any(map(_in_a_graph, weights)):
        return
    with torch.inference_mode(False), torch.no_grad():
        parts = [weight.detach() for weight in weights]
        dense = parts[0] if len(parts) == 1 else torch.cat(parts)
        packed, first = Packed(dense, keep, dtype), 0
        for weight in weights:
            rows = slice(first, first := first + len(weight))
            _replace(weight, PackedWeight(packed, rows, weight))


def unpack(weight: nn.Parameter) -> None:
    """Make *weight* an ordinary parameter again, in place, unless an autograd graph refers to it.

    One that is not packed is left alone.
    """
    if type(weight) is PackedWeight and not _in_a_graph(weight):
        with torch.inference_mode(False), torch.no_grad():
            _replace(weight, nn.Parameter(weight.dense().clone(), weight.requires_grad))


def as_ordinary(weight: nn.Parameter | None) -> nn.Parameter | None:
    """*weight* itself, or of a packed one an ordinary copy."""
    return copy.deepcopy(weight) if type(weight) is PackedWeight else weight


def is_packed_for(x: Tensor, weight: Tensor, *biases: Tensor | None) -> bool:
    """Whether *weight* is packed, and for a product with *x*: in single precision, not for gradients, not recorded."""
    if type(weight) is not PackedWeight or x.dtype != torch.float32 or is_recorded():
        return False
    return not gradients_wanted(x, weight, *biases)


def packed_product(x: Tensor, weights: Sequence[Tensor]) -> Packed | None:
    """The matrix that consists of *weights*, in this order, if it is packed for a product with *x*; else None."""
    first, row = weights[0], 0
    if not is_packed_for(x, first):
        return None
    for weight in weights:
        if type(weight) is not PackedWeight or weight.packed is not first.packed or weight.rows.start != row:
            return None
        row = weight.rows.stop
    return first.packed if row == first.packed.rows and not gradients_wanted(*weights) else None


def gradients_wanted(*tensors: Tensor | None) -> bool:
    """Whether autograd records what is done with *tensors*."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def is_recorded() -> bool:
    """Whether this forward is being traced or compiled: the graph must not depend on whether gradients are enabled."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _writes(function) -> bool:
    """Whether *function* changes its arguments in place, or gives access to their memory."""
    name = function.__name__
    return name in IN_PLACE or (name.endswith("_") and not name.endswith("__")) or function in DATA


def _in_a_graph(weight: nn.Parameter) -> bool:
    return weight._use_count() > 1  # as torch.utils.swap_tensors asks


def _replace(weight: nn.Parameter, other: nn.Parameter) -> None:
    """Let the object *weight* be *other* from now on, with its own gradient; optimizers and modules keep it."""
    gradient = weight.grad
    torch.utils.swap_tensors(weight, other)
    weight.grad = gradient
