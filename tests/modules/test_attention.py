"""Our attention against fairseq's: the same numbers when whole, and the sum over the heads kept when not."""

import copy

import pytest
import torch
from fairseq.modules import MultiheadAttention
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.attention import AttentionWithoutHeads, PrunableAttention
from layerdrop_plugin.modules.convert import prunable_attention

WIDTH = 12
KINDS = {"self": {"self_attention": True}, "encoder": {"encoder_decoder_attention": True, "kdim": 8, "vdim": 8}}


def pair_of_attentions(kind="self", heads=3, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    stock = MultiheadAttention(WIDTH, heads, dropout=dropout, **KINDS[kind])
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return stock, prunable_attention(copy.deepcopy(stock))


def inputs(kind, batch, target, source):
    query = torch.randn(target, batch, WIDTH)
    key = query if kind == "self" else torch.randn(source, batch, 8)
    return query, key


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


SIZES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@given(
    kind=st.sampled_from(list(KINDS)),
    heads=st.sampled_from([1, 3, 4]),
    sizes=SIZES,
    causal=st.booleans(),
    padded=st.booleans(),
    asked=st.sampled_from(["nothing", "need_weights", "need_head_weights", "before_softmax"]),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_whole_it_is_fairseqs(kind, heads, sizes, causal, padded, asked, training, seed):
    """Outputs, weights, scores before the softmax and the inputs' gradients."""
    stock, ours = pair_of_attentions(kind, heads, seed=seed)
    assert list(ours.state_dict()) == list(stock.state_dict())
    query, key = inputs(kind, *sizes)
    options = {"need_weights": False} | ({} if asked == "nothing" else {asked: True})
    if causal and kind == "self":
        options["attn_mask"] = torch.full((query.size(0), key.size(0)), float("-inf")).triu(1)
    if padded:
        options["key_padding_mask"] = torch.arange(key.size(0)).repeat(sizes[0], 1) > torch.arange(sizes[0])[:, None]
    results = []
    for attention in (stock.train(training), ours.train(training)):
        asking = query.clone().requires_grad_()
        seen = asking if kind == "self" else key
        state = {} if asked in ("need_head_weights", "before_softmax") else None  # fairseq's short path ignores them
        x, weights = attention(asking, seen, seen, incremental_state=state, **options)
        if asked != "before_softmax":
            x.sum().backward()
        results.append([x, weights, asking.grad])
    assert_alike(results[1], results[0])


@given(kind=st.sampled_from(list(KINDS)), batch=st.integers(1, 3), steps=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_incremental_decoding_is_fairseqs(kind, batch, steps, seed):
    """The same incremental state too: with padding that comes and goes, and rows that are exchanged."""
    stock, ours = pair_of_attentions(kind, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    encoded, padding = torch.randn(5, batch, 8), torch.arange(5).repeat(batch, 1) > 3
    states = ({}, {})
    for _ in range(steps):
        query = torch.randn(1, batch, WIDTH)
        own = torch.rand(batch, 1, generator=generator) < 0.3
        own = own if own.any() and _ > 0 else None
        order = torch.randint(batch, (batch,), generator=generator)
        results = []
        for attention, state in zip((stock, ours), states, strict=True):
            if kind == "self":
                given_ = {"key": query, "value": query, "key_padding_mask": own}
            else:
                given_ = {"key": encoded, "value": encoded, "key_padding_mask": padding, "static_kv": True}
            results.append(attention(query, incremental_state=state, **given_))
            attention.reorder_incremental_state(state, order)
        assert_alike(results[1], results[0])
        buffers = [attention._get_input_buffer(state) for attention, state in zip((stock, ours), states, strict=True)]
        assert_alike(list(buffers[1].values()), list(buffers[0].values()))


@given(sentences=st.integers(1, 3), beams=st.integers(2, 4), target=st.integers(1, 3), asked=st.booleans())
@settings(max_examples=20, deadline=None)
def test_hypotheses_share_the_keys_of_their_sentence(sentences, beams, target, asked):
    _, ours = pair_of_attentions("encoder")
    query, key = torch.randn(target, sentences * beams, WIDTH), torch.randn(5, sentences, 8)
    padding = torch.arange(5).repeat(sentences, 1) > 2
    shared = ours(query, key, key, key_padding_mask=padding, need_head_weights=asked, need_weights=asked)
    copies = key.repeat_interleave(beams, 1), padding.repeat_interleave(beams, 0)
    each = ours(query, copies[0], copies[0], key_padding_mask=copies[1], need_head_weights=asked, need_weights=asked)
    assert_alike(shared, each)


@given(kept=st.sets(st.integers(0, 3)), weights=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_gated_heads_are_absent_heads(kept, weights, seed):
    """The equation itself: the output is the bias and the sum of what each head kept adds."""
    _, ours = pair_of_attentions(heads=4, seed=seed)
    query, _ = inputs("self", 2, 5, 5)
    bias, contributions, width = ours.out_proj.bias, [], ours.head_dim
    for head in range(4):
        ours.gate.value = torch.eye(4)[head]
        contributions.append(ours(query, query, query)[0] - bias)
    ours.gate.value = torch.tensor([float(head in kept) for head in range(4)])
    found, attention = ours(query, query, query, need_weights=weights, need_head_weights=weights)
    expected = bias + sum((contributions[head] for head in kept), torch.zeros(5, 2, WIDTH))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert attention is None if not (weights and kept) else attention.size(0) == len(kept)
    smaller = prunable_attention(copy.deepcopy(MultiheadAttention(WIDTH, 4, self_attention=True)), len(kept))
    if kept:
        rows = torch.cat([torch.arange(width) + head * width for head in sorted(kept)])
        for name in "qkv":
            mine, theirs = getattr(smaller, f"{name}_proj"), getattr(ours, f"{name}_proj")
            mine.weight.data, mine.bias.data = theirs.weight.data[rows], theirs.bias.data[rows]
        smaller.out_proj.weight.data = ours.out_proj.weight.data[:, rows]
    smaller.out_proj.bias.data = bias.data
    torch.testing.assert_close(smaller(query, query, query)[0], expected, atol=1e-5, rtol=0)
    assert isinstance(smaller, PrunableAttention if kept else AttentionWithoutHeads)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_that_sees_no_key_gives_the_bias(asked, causal):
    """Zeros before the output projection, and no NaN in any gradient."""
    _, ours = pair_of_attentions()
    query = torch.randn(4, 2, WIDTH, requires_grad=True)
    padding = torch.tensor([[True] * 4, [False] * 4])
    mask = torch.full((4, 4), float("-inf")).triu(1) if causal else None
    x, weights = ours(query, query, query, key_padding_mask=padding, need_weights=asked, attn_mask=mask)
    torch.testing.assert_close(x[:, 0], ours.out_proj.bias.expand(4, WIDTH))
    assert not asked or torch.equal(weights[0], torch.zeros(4, 4))
    x.sum().backward()
    assert query.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in ours.parameters())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("asked", [False, True])
def test_half_precision(kind, asked):
    stock, ours = pair_of_attentions()
    query = torch.randn(5, 2, WIDTH)
    padding = torch.arange(5).repeat(2, 1) > 3
    given_ = {"key_padding_mask": padding, "need_weights": asked, "attn_mask": torch.zeros(5, 5).to(kind)}
    found, weights = ours.to(kind)(query.to(kind), query.to(kind), query.to(kind), **given_)
    assert found.dtype == kind
    assert not asked or weights.dtype == torch.float32
    expected, _ = stock(query, query, query, key_padding_mask=padding)
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.05)


def test_what_cannot_be_pruned_stays_fairseqs():
    for options in ({"add_bias_kv": True}, {"add_zero_attn": True}, {"q_noise": 0.1, "qn_block_size": 4}):
        stock = MultiheadAttention(WIDTH, 3, self_attention=True, **options)
        assert type(prunable_attention(stock)) is MultiheadAttention
        with pytest.raises(LayerdropError, match="cannot be removed"):
            prunable_attention(stock, 2)


def test_dropout_drops_weights_in_training_only():
    _, ours = pair_of_attentions(dropout=0.5)
    query = torch.randn(5, 2, WIDTH)
    for asked in (False, True):
        torch.manual_seed(0)
        runs = [ours.train()(query, query, query, need_weights=asked)[0] for _ in range(2)]
        assert not torch.allclose(*runs)
        runs = [ours.eval()(query, query, query, need_weights=asked)[0] for _ in range(2)]
        assert torch.equal(*runs)
