import jax
import jax.numpy as jnp

from bertjax.models.compiler import compiler_options
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model


def test_sums_of_a_forward_pass_are_not_cut_into_windows():
    config = BertConfig(vocab_size=20, hidden_size=64, num_attention_heads=1, num_hidden_layers=2)
    model = make_model(config, "text-classification")
    ids = jnp.zeros((2, 64), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), ids)

    def windows(options: dict[str, str]) -> int:
        forward = jax.jit(lambda p, x: model.apply(p, None, x).logits, compiler_options=options)
        return forward.lower(params, ids).compile().as_text().count("reduce-window(")

    assert windows({}) > 0
    assert windows(compiler_options()) == 0


def test_an_accelerator_needs_no_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options() == {}
