"""The configuration of the decoder: section ``model`` of ``params.yaml``."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wordgaze.core.settings import Count, Dropout, Settings, Share


class DecoderConfig(Settings):
    """The configuration of a Decoder.

    ``num_layers`` counts all recurrent layers: with ``attention_position: between`` the first one comes before the
    attention. ``feature_size`` 0 attends over the encoder's channels as they are. ``standardise`` gives each channel
    mean 0 and standard deviation 1 over the training images, which matters where networks or depths are concatenated.
    ``dropout_channels`` drops channels in all cells of an image at once. ``soft_attention_share`` of the images have
    soft attention in a training step with ``hard_attention``. ``new_words`` are the word vectors by which the nouns of
    ImageNet's classes that no caption has are added after the training; "" adds none.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    num_layers: int = Field(1, ge=1, le=8)
    attention_position: Literal["first", "between", "last"] = "first"
    attention: Literal["additive", "dot", "general", "concat"] = "additive"
    span: Literal["global", "local_m", "local_p"] = "global"
    window: Count = 10
    window_stride: float = Field(4.0, gt=0)
    hard_attention: bool = False
    soft_attention_share: Share = 0.5
    sentinel: bool = False
    gate: bool = True
    output: Literal["deep", "plain"] = "deep"
    tie_embeddings: bool = False
    word_vectors: str = ""
    freeze_word_vectors: bool = False
    new_words: str = ""
    embedding_size: Count = 256
    hidden_size: Count = 256
    attention_size: Count = 256
    feature_size: int = Field(256, ge=0)
    standardise: bool = True
    dropout_channels: Dropout = 0.0
    dropout_embedding: Dropout = 0.3
    dropout_features: Dropout = 0.2
    dropout_output: Dropout = 0.3

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = [
            (
                self.attention_position == "between" and self.num_layers < 2,
                "attention_position: between needs num_layers: 2 or more",
            ),
            (
                self.sentinel and self.attention_position == "first",
                "sentinel depends on the last word: attention_position must be between or last",
            ),
            (self.sentinel and self.cell == "gru", "sentinel needs a memory cell: cell must be lstm"),
            (
                self.sentinel and self.hard_attention,
                "sentinel and hard_attention exclude each other: the sentinel is not a cell of the grid",
            ),
            (self.sentinel and self.span != "global", "sentinel needs span: global"),
            (
                self.sentinel and self.feature_size != self.hidden_size,
                f"sentinel is mixed with the features: feature_size ({self.feature_size}) must be"
                f" hidden_size ({self.hidden_size})",
            ),
            (
                self.attention == "dot" and self.feature_size != self.hidden_size,
                f"attention: dot needs feature_size ({self.feature_size}) equal to hidden_size ({self.hidden_size})",
            ),
            (
                self.output == "plain" and self.attention_position == "last" and self.feature_size != self.hidden_size,
                "output: plain with attention_position: last adds features to states:"
                f" feature_size ({self.feature_size}) must be hidden_size ({self.hidden_size})",
            ),
            (
                self.tie_embeddings and self.output == "plain" and self.embedding_size != self.hidden_size,
                f"tie_embeddings with output: plain needs embedding_size ({self.embedding_size}) equal to"
                f" hidden_size ({self.hidden_size})",
            ),
            (bool(self.freeze_word_vectors and not self.word_vectors), "freeze_word_vectors needs word_vectors"),
        ]
        if wrong := "; ".join(message for is_wrong, message in problems if is_wrong):
            raise ValueError(wrong)
        return self
