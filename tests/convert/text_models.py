"""A text encoder of sentence-transformers with random weights, and texts for it."""

from pathlib import Path

from skltransfer.testing import SPECIAL

LETTERS = [chr(i) for i in range(33, 127)]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
LONG = "a text that is longer than the model takes " * 4
TEXTS = ["", "a", "Words and more words (42)", LONG, "Größe 東京 🎉", "b c"]
LENGTH = 48


def make(folder: Path, pool: str = "mean", *, normalize: bool = True, dense: bool = False, **config) -> Path:
    """Save a model of sentence-transformers: a random BERT of two layers that spells, pooled."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
    sizes |= {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "initializer_range": 0.5}
    BertModel(BertConfig(**{**sizes, **config})).save_pretrained(folder / "bert")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), "utf8")
    words = {token: i for i, token in enumerate(VOCABULARY)}
    BertTokenizerFast(vocab=words, model_max_length=LENGTH).save_pretrained(folder / "bert")
    parts = [models.Transformer(str(folder / "bert"), max_seq_length=LENGTH), models.Pooling(32, pooling_mode=pool)]
    parts += [models.Dense(32, 8)] if dense else []
    SentenceTransformer(modules=[*parts, *([models.Normalize()] if normalize else [])]).save(str(folder / "source"))
    return folder / "source"
